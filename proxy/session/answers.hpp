// What each message of a server is, and what it changes.
#pragma once

#include "proxy/session/course.hpp"
#include "proxy/session/effects.hpp"
#include "proxy/session/ending.hpp"
#include "proxy/session/error_answers.hpp"
#include "proxy/session/holding.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/questions.hpp"
#include "proxy/session/request_end.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/transaction_end.hpp"
#include "proxy/session/who.hpp"

#include <optional>
#include <string>

namespace pgsteer::proxy {

// Called by Replies, message by message. Worker-local.
class Answers {
public:
    Answers(Who& who,
            Course& course,
            Memory& memory,
            Sides& sides,
            TransactionEnd& transaction_end,
            Ending& ending,
            Questions& questions,
            RequestEnd& request_end,
            Effects& effects,
            ErrorAnswers& errors,
            Holding& holding)
        : who_{who},
          course_{course},
          memory_{memory},
          sides_{sides},
          transaction_end_{transaction_end},
          ending_{ending},
          questions_{questions},
          request_end_{request_end},
          effects_{effects},
          errors_{errors},
          holding_{holding} {}
    Answers(const Answers&) = delete;
    Answers& operator=(const Answers&) = delete;

    // One message, of `body` as much as has come; whole where Replies waits for it. The session may
    // have ended behind it. The switch only names what it is: the work is in the functions below.
    [[nodiscard]] Verdict handle_reply(routing::Slot slot, std::uint8_t type, wire::Bytes body);
    // ParameterStatus, also of a run that is discarded.
    [[nodiscard]] Verdict on_parameter(routing::Slot slot, wire::Bytes body);
    // What comes next answers a message of ours.
    [[nodiscard]] bool answers_us(routing::Slot slot);
    // As much as has come of a row.
    void note_fetched(routing::Slot slot, wire::Bytes bytes);

private:
    [[nodiscard]] Verdict on_part(routing::Slot slot,
                                  const Expected& owed,
                                  std::uint8_t type,
                                  wire::Bytes body);
    void settle_doubt(routing::Slot slot, std::uint8_t type);
    [[nodiscard]] Verdict on_asynchronous(routing::Slot slot, std::uint8_t type, wire::Bytes body);
    void columns_told(routing::Slot slot, std::uint8_t type, wire::Bytes body);
    void forget_tellings(routing::Slot slot, std::uint64_t number);
    void show_own_key(routing::Slot slot, wire::Bytes body);
    [[nodiscard]] Fetches* fetches(routing::Slot slot);
    void completed(const SentMessage& message, std::uint16_t index);
    [[nodiscard]] Verdict on_parse_or_close_complete(routing::Slot slot);
    [[nodiscard]] Verdict on_complete(routing::Slot slot, wire::Bytes body, std::uint8_t type);
    [[nodiscard]] Verdict on_ready(routing::Slot slot, wire::Bytes body);
    void tell_read_only();
    [[nodiscard]] Verdict on_own_ready(routing::Slot slot,
                                       Purpose purpose,
                                       routing::TransactionStatus status);

    // All of them outlive it.
    Who& who_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
    TransactionEnd& transaction_end_;
    Ending& ending_;
    Questions& questions_;
    RequestEnd& request_end_;
    Effects& effects_;
    ErrorAnswers& errors_;
    Holding& holding_;

    // What the client has seen of default_transaction_read_only before it set that on a replica.
    std::optional<std::string> read_only_before_;
};

}  // namespace pgsteer::proxy
