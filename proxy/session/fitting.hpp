// Where a request goes, once it is known that what it executes has the columns that its client was
// told.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/session/batch_facts.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/progress.hpp"
#include "proxy/session/seek.hpp"
#include "proxy/session/sender.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/transaction_control.hpp"

#include <boost/container/small_vector.hpp>

namespace pgsteer::proxy {

// Between Seek and Sender: for Dispatch, and for Recovery what runs again. Statements that the
// client was told of, and a connection lacks, are prepared there, and described, before the request
// is sent: a round trip, once for each statement and connection. Worker-local.
class Fitting {
public:
    Fitting(Client& client,
            Course& course,
            Memory& memory,
            Sides& sides,
            TransactionControl& control,
            const Progress& progress,
            Sender& sender,
            Seek& seek)
        : client_{client},
          course_{course},
          memory_{memory},
          sides_{sides},
          control_{control},
          progress_{progress},
          sender_{sender},
          seek_{seek} {}
    Fitting(const Fitting&) = delete;
    Fitting& operator=(const Fitting&) = delete;

    // As Seek::look(). What follows is choose() if it does not say Next::chosen, or if is_due().
    [[nodiscard]] Next look(Search& search) { return seek_.look(search); }
    [[nodiscard]] static bool is_due(const BatchFacts& facts, const Search& search) {
        const bool is_doubtful = facts.doubtful_on[static_cast<std::size_t>(search.choice.slot)] ||
                                 facts.uses_told_unnamed;
        return is_doubtful && !search.choice.failure;
    }
    // As Seek::choose(), to a connection of whose statements it is known whether they fit. Where
    // that could not be found out they are sent all the same: the server says why.
    awaitable<void> choose(Search& search, Next next, const WholeBatch& messages);

private:
    using Statements = boost::container::small_vector<PreparedTextPtr, 4>;

    [[nodiscard]] Statements doubtful(const WholeBatch& messages, routing::Slot slot) const;
    awaitable<void> look_at(const Statements& statements, routing::Slot slot, bool is_run_again);

    // All of them outlive it.
    Client& client_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
    TransactionControl& control_;
    const Progress& progress_;
    Sender& sender_;
    Seek& seek_;
};

}  // namespace pgsteer::proxy
