// What the client's messages say, and what has to be known for deciding where they run.
#pragma once

#include "proxy/session/batch_facts.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/options.hpp"
#include "proxy/session/search.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/who.hpp"

namespace pgsteer::proxy {

// Waits for nothing, and changes nothing but in update(). Worker-local.
class Judge {
public:
    Judge(const Lodging& lodging,
          Client& client,
          Who& who,
          Course& course,
          Memory& memory,
          Sides& sides,
          const Options& options)
        : lodging_{lodging},
          client_{client},
          who_{who},
          course_{course},
          memory_{memory},
          sides_{sides},
          options_{options} {}
    Judge(const Judge&) = delete;
    Judge& operator=(const Judge&) = delete;

    // Null: it cannot be known what the text says.
    [[nodiscard]] routing::StatementPtr classify(std::string_view sql) const;
    // Of messages that were collected before.
    [[nodiscard]] Batch parse_batch(wire::Bytes bytes) const;
    // To be called before facts_of(): the catalog as the session sees it now. With nothing in
    // flight Course::names_may_change is over.
    void update() const;
    // `bytes`: of the batch, as much as has arrived.
    [[nodiscard]] BatchFacts facts_of(const Batch& batch, wire::Bytes bytes) const;
    // A read may be sent to a replica that is asked beside it: the messages of the batch are all
    // here and will be kept, so that they can be sent once more.
    [[nodiscard]] bool may_verify(const Batch& batch) const;
    // What decide() needs to know of the session. `avoid`: besides what speaks against servers.
    [[nodiscard]] routing::SessionView view(const routing::Statement& statement,
                                            const routing::Topology& topology,
                                            const Demand& demand,
                                            routing::ServerSet avoid) const;

private:
    [[nodiscard]] std::size_t max_read_bytes(const Batch& batch) const;
    [[nodiscard]] bool deallocates_unknown(const routing::Statement& statement) const;
    void add_positions(routing::SessionView& view, const routing::Topology& topology) const;

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Who& who_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
    const Options& options_;
};

}  // namespace pgsteer::proxy
