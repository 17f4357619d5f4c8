// What completed statements have done to the session.
#pragma once

#include "proxy/session/course.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/options.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/transaction_end.hpp"

namespace pgsteer::proxy {

// Told by Answers, in the order of the servers' answers. Worker-local.
class Effects {
public:
    Effects(Course& course,
            Memory& memory,
            Sides& sides,
            TransactionEnd& transaction_end,
            const Options& options)
        : course_{course},
          memory_{memory},
          sides_{sides},
          transaction_end_{transaction_end},
          options_{options} {}
    Effects(const Effects&) = delete;
    Effects& operator=(const Effects&) = delete;

    // Statement `index` of `statement` has completed on `slot`, with this command tag.
    void apply(routing::Slot slot,
               const routing::Statement& statement,
               std::uint16_t index,
               std::string_view tag);
    // A row of set_config(), kept for apply(): the new values are not in the text, but in the
    // answer.
    void note_set_values(routing::Slot slot, wire::Bytes row);

private:
    // All of them outlive it.
    Course& course_;
    Memory& memory_;
    Sides& sides_;
    TransactionEnd& transaction_end_;
    const Options& options_;
};

}  // namespace pgsteer::proxy
