// What the session, its transaction and a statement ask of reads.
#pragma once

#include "proxy/session/batch.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/who.hpp"
#include "routing/read_options.hpp"

#include <string>

namespace pgsteer::proxy {

// Asked only: SessionState and Transaction keep what was said. Worker-local.
class Options {
public:
    Options(const Lodging& lodging, Who& who, Memory& memory)
        : lodging_{lodging}, who_{who}, memory_{memory} {}
    Options(const Options&) = delete;
    Options& operator=(const Options&) = delete;

    // The level of this user and database, and what the startup packet asks for. Once, when it is
    // known who the client is. What is wrong with that; "" = nothing.
    [[nodiscard]] std::string start();
    // For `statement`: what it says overrides what its transaction does, and that the session.
    [[nodiscard]] routing::ReadOptions of(const routing::Statement& statement) const;
    [[nodiscard]] routing::Consistency level(const routing::Statement& statement) const {
        return memory_.freshness.level(of(statement));
    }
    // What is wrong with a SET pgsteer.* in the batch; "" = nothing. In a transaction the server is
    // not told of an error that it has not seen: there such a SET has no effect.
    [[nodiscard]] std::string problem_of(const Batch& batch) const;
    // Until when a read that came at `arrived` waits for a replica to be fresh enough; kNever: it
    // does not.
    [[nodiscard]] routing::TimePoint wait_until(const routing::Statement& statement,
                                                routing::TimePoint arrived) const;
    // Of transactions about which nothing is said.
    [[nodiscard]] routing::DefaultModes default_modes() const;
    [[nodiscard]] static routing::Consistency level_of(conf::Consistency level);

private:
    // All of them outlive it.
    const Lodging& lodging_;
    Who& who_;
    Memory& memory_;
};

}  // namespace pgsteer::proxy
