// An open request has made portals on the server that it leaves. Where it goes on they are made
// again, and are where they were: what its messages were, those that count are sent once more.
// Pure.
#pragma once

#include "proxy/session/batch.hpp"
#include "proxy/session/fetched_rows.hpp"
#include "proxy/session/portals.hpp"
#include "proxy/session/preparing.hpp"

#include <cstddef>
#include <span>
#include <vector>

namespace pgsteer::proxy {

// One message, or what is done for one.
struct RepeatedStep {
    enum class What : std::uint8_t {
        statement,  // the connection gets the statement that this Bind names, as it is now
        parse,      // this Parse: its name means something else by now
        message,    // this Bind or Execute, as it was
        close,      // the portal that this Bind has made
        at_end,     // that portal, which has been executed and returns no rows
        executed,   // nothing of the kind, but something had been executed before what follows
    };
    What what{};
    std::size_t item = 0;  // of the batch
    friend bool operator==(const RepeatedStep&, const RepeatedStep&) = default;
};

struct Repetition {
    std::vector<RepeatedStep> steps;
    std::vector<FetchedRows> rows;  // what the Executes with a limit among them were answered
};

// `sent`: all of the request's messages, answered without an error; `fetched`: by its Executes with
// a limit. Only reads are executed again: `portals` tells what is. `uses_unnamed`: what goes on
// needs the unnamed portal also if it has been executed to its end, which else nobody wants again:
// it is closed then.
[[nodiscard]] Repetition repetition_of(const WholeBatch& sent,
                                       std::span<const FetchedRows> fetched,
                                       const Portals& portals,
                                       bool uses_unnamed);

// Whether they execute or describe the unnamed portal as it is.
[[nodiscard]] bool uses_unnamed_portal(const WholeBatch& messages);

// Appends the messages, and what they are answered with. Their answers are nobody's; an error is
// the client's. `sent`: as above. False: it ends in front of a Bind of a statement that
// has other columns there than the client was told.
[[nodiscard]] bool repeat(const Repetition& repetition,
                          const WholeBatch& sent,
                          Preparing preparing,
                          wire::Buffer& out);

}  // namespace pgsteer::proxy
