// The names of prepared statements as PostgreSQL keeps them: what each means by what was answered,
// and what it will mean when all that is under way has been. Pure.
#pragma once

#include "proxy/server/numbered_queue.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace pgsteer::proxy {

// Of a prepared statement or a portal, as the server knows it: it takes 63 bytes of what a message
// of the protocol says, even if that cuts a character in two. (Names in SQL are cut by its scanner
// between characters, and come from classify() like that.) Source: NAMEDATALEN; tried with 15.
[[nodiscard]] constexpr std::string_view name_of(std::string_view raw) { return raw.substr(0, 63); }

struct PreparedText;  // proxy/session/client_statements.hpp

// What a name means: nothing, or a statement. Equal by its id.
struct NamedStatement {
    std::uint64_t id = 0;                                // 0: none
    std::shared_ptr<const PreparedText> text = nullptr;  // of a client; a connection keeps none

    explicit operator bool() const { return id != 0; }
    friend bool operator==(const NamedStatement& a, const NamedStatement& b) {
        return a.id == b.id;
    }
};

// A message that was sent, in the order of sending. None: number 0, of which nothing is known.
struct SentMessage {
    std::uint64_t number = 0;
    std::uint32_t segment = 0;  // messages between two Syncs share it
    bool skips = false;         // an error makes the server skip to the Sync
};

enum class MessageKind : std::uint8_t {
    extended,       // one of the extended protocol
    query,          // Query: drops the unnamed statement, whatever comes of it
    function_call,  // an error skips nothing
    sync,
};

// What StatementNames is made of: names, and operations on them that are not final. Its functions
// know what an operation does, and what may come of it. Not to be used by itself.
class NameLog {
protected:
    explicit NameLog(std::size_t max_names) : max_names_{max_names} {}
    NameLog(const NameLog&) = delete;
    NameLog& operator=(const NameLog&) = delete;

    enum class Kind : std::uint8_t { define, close, deallocate, deallocate_all, drop_unnamed };
    enum class Outcome : std::uint8_t {
        nothing,
        happened,
        dropped,  // a Parse without a name that has failed: what was there is gone
    };
    // Positions in the log: numbers of operations, from 1; 0: none.
    using Place = std::uint64_t;

    struct Entry {
        NamedStatement final{};
        const std::string* name = nullptr;  // null: the unnamed one
        Place now = 0;    // the last that was answered and changed it; 0: it is as `final` says
        Place after = 0;  // the last that will have
        Place last = 0;   // the last of all that is to change it
        std::uint32_t queued = 0;
        std::uint32_t defines = 0;   // not answered
        std::uint32_t removals = 0;  // not answered, without DEALLOCATE ALL
    };
    struct Operation {
        SentMessage message;
        Entry* entry = nullptr;  // null: of all, or of a name that is not there
        NamedStatement statement{};
        std::uint16_t index = 0;
        Kind kind{};
        Outcome expected{};
        Outcome outcome{};  // once answered
    };
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>{}(text);
        }
    };
    // What will have happened: worked out again when something came out differently.
    struct Forecast {
        bool is_due = false;
        Place all = 0;                    // the last DEALLOCATE ALL
        std::uint32_t skips_segment = 0;  // the rest of it
        std::uint64_t ends_message = 0;   // the rest of its statements
    };

    void finish_answered();
    [[nodiscard]] const Entry* find(std::string_view raw) const {
        if (raw.empty()) return &unnamed_;
        const auto name = name_of(raw);
        return recent_ != nullptr && *recent_->name == name ? recent_ : find_other(name);
    }
    [[nodiscard]] const Entry* find_other(std::string_view name) const;
    void append(Kind kind, Entry* entry, NamedStatement statement, std::uint16_t index);
    [[nodiscard]] Outcome expect(const Operation& operation) const;
    void note_expected(const Operation& operation, Place place) const;
    void forecast() const;
    void answer(Outcome outcome);
    void finish_front();
    [[nodiscard]] const NamedStatement& at(const Entry& entry, Place place, Place all) const;
    [[nodiscard]] const NamedStatement* next_of(const Entry* entry) const;
    [[nodiscard]] bool is_final(const Entry* entry) const;
    [[nodiscard]] bool knows_all() const { return forgot_at_ == 0; }

    std::size_t max_names_;
    std::unordered_map<std::string, Entry, Hash, std::equal_to<>> named_;
    Entry unnamed_;
    mutable const Entry* recent_ = nullptr;  // of named_: most messages ask for the same one again
    mutable NumberedQueue<Operation> queue_;
    Place unanswered_ = 1;  // the first that is
    SentMessage newest_{0, 1, false};
    bool is_skipping_ = false;  // up to a Sync that has not been sent
    Place all_now_ = 0;         // the last DEALLOCATE ALL that was answered, in the queue
    Place all_last_ = 0;        // the last that is to come
    std::uint32_t alls_ = 0;    // not answered
    mutable Forecast forecast_;
    std::uint64_t forgot_at_ = 0;  // the last message of which a name was not noted
};

// The names of one server connection, or those that one client believes to have: a log of what the
// messages do to them, in the order of sending.
//
// Its state is a map of what is final, and a queue of what is not. Nothing is ever undone: what
// comes of a message is written beside it, and what a name means is read from both. So it does not
// matter what fails, how much of it, and in which order that is noticed.
//
// As in PostgreSQL, names are not part of transactions: what was prepared stays, and what was
// deallocated stays so, after an error in the same message, and after ROLLBACK.
//
// To be used like this: every message that is answered by itself is told when it is sent, unless
// the server is known to ignore it; by what it returns, it is told once what has come of it.
// Worker-local. An answer costs O(1), a question a look-up; DEALLOCATE ALL what there was, once it
// is final. An error costs the length of the queue, once for all errors before the next question.
class StatementNames : NameLog {
public:
    static constexpr std::uint16_t kAllStatements = std::numeric_limits<std::uint16_t>::max();

    // Beyond `max_names` it forgets names: is_complete().
    explicit StatementNames(std::size_t max_names) : NameLog{max_names} {}

    // --- What is sent. ---
    // Parse. Of a name that is there: an error. Without a name: the old one is gone, also if this
    // fails.
    SentMessage parse(std::string_view name, NamedStatement statement);
    // Close of a statement: of no error if there is none.
    SentMessage close(std::string_view name);
    // Any other: what its statements do follows, if anything.
    SentMessage send(MessageKind kind) {
        ++newest_.number;
        newest_.skips = kind == MessageKind::extended;
        return newest_.skips ? newest_ : send_other(kind);
    }
    // Of the newest message, a Query or an Execute. `index` counts its statements from 0.
    void prepare(std::string_view name, NamedStatement statement, std::uint16_t index);
    void deallocate(std::string_view name, std::uint16_t index);  // an error if there is none
    // DEALLOCATE ALL, DISCARD ALL. The unnamed statement stays.
    void deallocate_all(std::uint16_t index);

    // --- What comes of it. Messages are told in their order; one that was left out, or is told a
    // second time, does nothing. ---
    // ParseComplete, CloseComplete, CommandComplete. Of a Query: up to its statement `index`.
    void completed(const SentMessage& message, std::uint16_t index = kAllStatements) {
        if (!queue_.empty()) note_completed(message, index);
    }
    // ErrorResponse. What the server skips then is settled with it.
    void failed(const SentMessage& message);
    // It is not executed, or what has not been told of it will not come: ReadyForQuery is here. For
    // what ReplyQueue drops; of what failed() has settled it need not be told.
    void skipped(const SentMessage& message) {
        if (!queue_.empty()) note_skipped(message);
    }
    // The error is ours: the first of the messages up to this one that have not been answered has
    // failed, the others are skipped.
    void fail_up_to(const SentMessage& last);
    // All that was answered is final. ReadyForQuery; of a request that cannot run again any more,
    // every answer.
    void commit() {
        if (!queue_.empty()) finish_answered();
    }
    // All that is not final was never sent: those requests run elsewhere, or again.
    void withdraw();

    // --- What a name means. Valid until anything is called that is not const. ---
    [[nodiscard]] const NamedStatement& now(std::string_view name) const;  // by what was answered
    // When all that is under way has been done, and fails only as it must: what is prepared twice,
    // or deallocated without being there.
    [[nodiscard]] const NamedStatement& after(std::string_view name) const;
    // It goes on meaning what it means now, whatever fails of what is under way. (What only
    // cannot happen because another name makes its request fail counts as if it could.)
    [[nodiscard]] bool is_certain(std::string_view name) const;
    // When the next message is executed, if it is not skipped: it is not where something before it
    // up to the last Sync has failed. Null: not certain.
    [[nodiscard]] const NamedStatement* next(std::string_view name) const;
    // Both in one look-up.
    struct Meaning {
        const NamedStatement& after;
        const NamedStatement* next;
    };
    [[nodiscard]] Meaning look(std::string_view name) const;

    // Nothing is under way: what names mean is final, until a message is sent that changes it.
    [[nodiscard]] bool is_quiet() const { return queue_.empty() && knows_all(); }

    // False: there were too many names; those that it does not know may exist.
    [[nodiscard]] bool is_complete() const { return knows_all(); }
    [[nodiscard]] std::size_t size() const { return named_.size(); }  // of the names that it holds

private:
    SentMessage send_other(MessageKind kind);
    void note_completed(const SentMessage& message, std::uint16_t index);
    void note_skipped(const SentMessage& message);
};

}  // namespace pgsteer::proxy
