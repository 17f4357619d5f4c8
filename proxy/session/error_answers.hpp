// Errors in place of answers: the client's, our own, a server's last words.
#pragma once

#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/ending.hpp"
#include "proxy/session/holding.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/questions.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/who.hpp"

namespace pgsteer::proxy {

// Called by Answers, and by Replies for a run that is discarded. Worker-local.
class ErrorAnswers {
public:
    ErrorAnswers(Client& client,
                 Who& who,
                 Course& course,
                 Memory& memory,
                 Sides& sides,
                 Ending& ending,
                 Holding& holding,
                 Questions& questions)
        : client_{client},
          who_{who},
          course_{course},
          memory_{memory},
          sides_{sides},
          ending_{ending},
          holding_{holding},
          questions_{questions} {}
    ErrorAnswers(const ErrorAnswers&) = delete;
    ErrorAnswers& operator=(const ErrorAnswers&) = delete;

    // ErrorResponse on `slot`.
    [[nodiscard]] Verdict on_error(routing::Slot slot, wire::Bytes body);
    // Behind an error the server skips all up to the next Sync, and owes nothing for it. Returned:
    // which ends of the client's requests are skipped (Flight::go_on). None, and nothing is
    // skipped, where ReadyForQuery follows all the same: behind a Query, a Sync, a FunctionCall.
    UnansweredEnds skip_to_sync(routing::Slot slot);
    // The server skips up to a Sync, and the client's will not be sent there, for what it would end
    // runs elsewhere: sends one of ours.
    void end_skipping(routing::Slot slot);
    // Behind a copy that has failed, and with it some of the Syncs between its data, or none, have
    // been ignored: asks a question whose answer comes behind those to the others.
    void find_out_about_syncs(routing::Slot slot);

private:
    [[nodiscard]] bool runs_elsewhere(routing::Slot slot, std::string_view sqlstate);
    void note_failure(Request& request, std::string_view sqlstate);
    [[nodiscard]] Verdict on_own_error(routing::Slot slot,
                                       const Expected& owed,
                                       std::string_view sqlstate,
                                       wire::Bytes body);
    [[nodiscard]] Verdict answer_with_own_error();

    // All of them outlive it.
    Client& client_;
    Who& who_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
    Ending& ending_;
    Holding& holding_;
    Questions& questions_;

    wire::Buffer own_error_;  // of Request::own_error
};

}  // namespace pgsteer::proxy
