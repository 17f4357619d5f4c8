// What a server still owes us: one entry per message sent that is answered by itself. Pure.
#pragma once

#include "proxy/io/lending.hpp"
#include "proxy/server/fifo.hpp"
#include "proxy/server/ledger.hpp"
#include "proxy/wire/bytes.hpp"
#include "proxy/wire/message_types.hpp"
#include "routing/statement_cache.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace pgsteer::proxy {

enum class Expect : std::uint8_t {
    parse,
    bind,
    close,
    describe,
    execute,
    sync,
    query,
    function_call,
    copy_end,  // CopyDone or CopyFail: no answer of its own; ends copy-in mode
};

// Why a message of our own was sent.
enum class Purpose : std::uint8_t {
    setting,      // the connection gets what it lacks
    sample,       // where the primary's WAL ends now
    verify,       // how far the replica has replayed, right before a read
    transaction,  // a transaction is opened with what was done in it, or rolled back on a replica
    repeat,       // a message of the client's that was answered by another connection before
    prepare,      // a statement that PREPARE or Parse has prepared on the other connection; also
                  // Parse and the others of the extended protocol
    show,         // the connection gets what SHOW pgsteer.<name> is about to ask for
    at_commit,    // what a transaction on a replica has kept for the primary
    others,       // fails, in the place of what has other columns than the client was told
    settle,       // how many Syncs were ignored by a copy that has failed
};

// Who holds a server connection (Exchange), and is owed an answer; unique for the connection.
enum class HolderId : std::uint32_t { nobody };

struct Expected {
    Expect what{};
    bool internal = false;               // sent by us: the answer is not the client's
    Purpose purpose = Purpose::setting;  // of an internal one
    bool limited = false;                // execute: with a limit of rows
    bool behind_data = false;            // sync: copy data was sent right before it
    bool doubtful = false;               // sync: ignored if the copy it was sent in still went on
    bool has_others = false;  // bind, describe: Purpose::others is right behind it, or before it
    std::uint16_t statement_index = 0;   // query: statements completed so far
    HolderId holder = HolderId::nobody;  // set by push()
    SentMessage of_client = {};          // in the log of its statements (ClientStatements)
    SentMessage on_server = {};  // in the ledger; push() fills in what is not told there yet
    routing::StatementPtr effects = nullptr;  // query, execute: statement with effects; else null
};

// Whether ReadyForQuery is (the last of) its answer.
[[nodiscard]] constexpr bool ends_request(Expect what) {
    return what == Expect::sync || what == Expect::query || what == Expect::function_call;
}

// How a message of the server fits to what it owes.
enum class Fit : std::uint8_t {
    wrong,         // no server that keeps to the protocol would send it now
    asynchronous,  // it answers nothing: ParameterStatus, NoticeResponse, NotificationResponse
    error,         // ErrorResponse: in place of the answer, or the last words of a server that ends
    part,          // of the answer to the front, of which there is more to come
    last,          // the answer to the front ends with it
};

[[nodiscard]] constexpr Fit fit_to_nothing(std::uint8_t type) {
    namespace backend = wire::backend;
    switch (type) {
        case backend::kErrorResponse:
            return Fit::error;
        case backend::kParameterStatus:
        case backend::kNoticeResponse:
        case backend::kNotificationResponse:
            return Fit::asynchronous;
        default:
            return Fit::wrong;
    }
}

[[nodiscard]] constexpr Fit fit_of(std::uint8_t type, Expect owed) {
    namespace backend = wire::backend;
    const auto last_if = [](bool fits) { return fits ? Fit::last : Fit::wrong; };
    switch (type) {
        case backend::kReadyForQuery:
            return last_if(ends_request(owed));
        case backend::kParseComplete:
            return last_if(owed == Expect::parse);
        case backend::kBindComplete:
            return last_if(owed == Expect::bind);
        case backend::kCloseComplete:
            return last_if(owed == Expect::close);
        case backend::kCommandComplete:
        case backend::kEmptyQueryResponse:
        case backend::kPortalSuspended:
            return owed == Expect::query ? Fit::part : last_if(owed == Expect::execute);
        case backend::kRowDescription:
        case backend::kNoData:
            return owed == Expect::describe ? Fit::last : Fit::part;
        case backend::kDataRow:
        case backend::kParameterDescription:
        case backend::kCopyInResponse:
        case backend::kCopyOutResponse:
        case backend::kCopyData:
        case backend::kCopyDone:
        case backend::kFunctionCallResponse:
            return Fit::part;
        default:
            return fit_to_nothing(type);
    }
}

// By the message's type and what is owed: it is asked for every message.
inline constexpr auto kFits = [] {
    std::array<std::array<Fit, static_cast<std::size_t>(Expect::copy_end)>, 256> fits{};
    for (std::size_t type = 0; type < fits.size(); ++type)
        for (std::size_t owed = 0; owed < fits[type].size(); ++owed)
            fits[type][owed] = fit_of(static_cast<std::uint8_t>(type), static_cast<Expect>(owed));
    return fits;
}();

// `type` is a backend message's, `owed` ReplyQueue::front(). PostgreSQL docs, "Message Flow".
[[nodiscard]] inline Fit fit(std::uint8_t type, const Expected* owed) {
    return owed == nullptr ? fit_to_nothing(type)
                           : kFits[type][static_cast<std::size_t>(owed->what)];
}

// Of the client's messages in the queue that end a request, counted from its front: which ones will
// never be answered. Ascending.
using UnansweredEnds = std::vector<std::size_t>;

// It also tells the connection's ledger what comes of each message. Worker-local.
class ReplyQueue {
public:
    // Of the same connection; outlives it.
    explicit ReplyQueue(Ledger& ledger) : ledger_{ledger} {}
    ReplyQueue(const ReplyQueue&) = delete;
    ReplyQueue& operator=(const ReplyQueue&) = delete;

    // False where the server ignores the message and nothing is owed: anything but Sync in skip
    // mode (an error was seen and no Sync is on its way), and a Sync that it reads while it waits
    // for copy data.
    bool push(Expected expected);
    // The same, for one whose logs were told: the entry, to be filled in before the next call.
    // Null: nothing is owed.
    [[nodiscard]] Expected* add(Expect what) {
        const bool is_sync = what == Expect::sync;
        if (skipping_ && !is_sync) return nullptr;
        skipping_ = false;
        const bool is_doubtful = is_sync && copy_open_;
        if (is_doubtful && !data_sent_) return nullptr;
        if (!std::exchange(has_memory_, true)) Lending<Queue>::lend(queue_);
        auto& entry = queue_.emplace_back();
        entry.what = what;
        entry.holder = speaker_;
        if (is_sync) {
            entry.behind_data = data_sent_;
            entry.doubtful = is_doubtful;
            doubtful_ += is_doubtful ? 1 : 0;
        } else {
            data_sent_ = false;
            copy_open_ = false;  // its end, or what the server does not accept
        }
        return &entry;
    }
    // As many are about to be pushed.
    void expect_more(std::size_t count) {
        if (!std::exchange(has_memory_, true)) Lending<Queue>::lend(queue_);
        queue_.reserve(count);
    }
    // Whose the messages are that are pushed from now on.
    void speaks(HolderId holder) { speaker_ = holder; }
    // Whom the next message is for; what answers nothing is for the one that speaks.
    [[nodiscard]] HolderId addressee() const {
        return queue_.empty() ? speaker_ : queue_.front().holder;
    }
    void copy_data_sent() { data_sent_ = true; }
    [[nodiscard]] bool empty() const { return queue_.empty(); }
    // What the next answer belongs to. Copy-end marks that nothing waits for any more are passed
    // over.
    [[nodiscard]] Expected* front() {
        pass_copy_ends();
        return queue_.empty() ? nullptr : &queue_.front();
    }
    // The front has been answered: see fit().
    void pop();
    // CommandComplete and the like to a statement of the front, a Query or Execute: the next one.
    void statement_completed() {
        auto& front = queue_.front();
        ledger_.completed(front.on_server, front.statement_index);
        ++front.statement_index;
    }
    // ErrorResponse to a front that ends its request all the same: ReadyForQuery follows.
    void failed() { ledger_.failed(queue_.front().on_server); }
    // ErrorResponse in an extended query: everything up to the next Sync is skipped by the server,
    // also a Query or FunctionCall. Calls dropped(entry) for each entry that will never be
    // answered.
    template <class Dropped>
    UnansweredEnds skip_to_sync(Dropped&& dropped);

    // COPY FROM STDIN. From CopyInResponse on the server ignores each Sync that it reads, until the
    // end of the data or an error of its own. A Sync with no data before it is ignored for certain.
    // One between data is so only if the copy has not failed at what came before it: it is in doubt
    // until the copy has ended, and if that was an error, until the answers say how many there are:
    // it is answered, or something else is. PostgreSQL docs, "COPY Operations".
    UnansweredEnds copy_in_started();
    UnansweredEnds copy_in_completed();
    void copy_in_failed() { copying_ = copy_open_ = false; }
    // Something else than ReadyForQuery has come: Syncs in doubt at the front have been ignored.
    UnansweredEnds settle();
    // Our Purpose::settle has been answered: nothing before it will be. Its ends are told, and its
    // requests end with that.
    template <class Dropped>
    UnansweredEnds settle_before_question(Dropped&& dropped);
    // Nothing has come: all of them have been, and the server skips to the next Sync.
    UnansweredEnds settle_as_ignored();
    [[nodiscard]] bool copying() const { return copying_; }  // the front is a copy that has begun
    // Between CopyInResponse and the end of the data: the server accepts nothing else.
    [[nodiscard]] bool copy_open() const { return copy_open_; }
    // At the front, behind a copy that has failed.
    [[nodiscard]] bool in_doubt() const {
        return doubtful_ > 0 && !queue_.empty() && queue_.front().doubtful;
    }

    // All that is owed, oldest first.
    using Queue = Fifo<Expected>;
    [[nodiscard]] const Queue& entries() const { return queue_; }
    [[nodiscard]] bool skipping() const { return skipping_; }

private:
    void pass_copy_ends() {
        while (!queue_.empty() && queue_.front().what == Expect::copy_end) queue_.pop_front();
    }
    using Ignores = bool (*)(const Expected&);
    UnansweredEnds erase_from(Queue::iterator begin, Queue::iterator end, Ignores ignores);

    Ledger& ledger_;
    Queue queue_;
    bool has_memory_ = false;  // lent, up to the pop() behind which nothing is owed
    HolderId speaker_ = HolderId::nobody;
    std::size_t doubtful_ = 0;  // entries
    bool skipping_ = false;
    bool data_sent_ = false;  // behind the last message that was neither Sync nor copy data
    bool copying_ = false;    // the front is a COPY FROM STDIN that the server has begun
    bool copy_open_ = false;  // and whose end has not been sent
};

// Appends a Sync of ours, and what it is answered with.
void add_own_sync(ReplyQueue& replies, wire::Buffer& out);
// Whether an answer that is the client's is still to come.
[[nodiscard]] inline bool owes_client(const ReplyQueue& replies) {
    return !replies.empty() && std::any_of(replies.entries().begin(), replies.entries().end(),
                                           [](const Expected& entry) { return !entry.internal; });
}
// Whether all that is owed are answers to samples and to transactions of our own that nothing
// depends on.
[[nodiscard]] bool owes_only_questions(const ReplyQueue& replies);
// Whether an error in place of the next answer makes the server skip to a Sync of our own.
[[nodiscard]] bool skips_to_own_sync(const ReplyQueue& replies);
// The oldest message of the client's that is not answered; none: number 0.
[[nodiscard]] SentMessage first_of_client(const ReplyQueue& replies);

template <class Dropped>
UnansweredEnds ReplyQueue::skip_to_sync(Dropped&& dropped) {
    UnansweredEnds ends;
    std::size_t end = 0;
    if (!queue_.empty()) failed();
    while (!queue_.empty() && queue_.front().what != Expect::sync) {
        const auto& entry = queue_.front();
        if (!entry.internal && ends_request(entry.what)) ends.push_back(end++);
        dropped(queue_.front());
        queue_.pop_front();
    }
    skipping_ = queue_.empty();
    return ends;
}

template <class Dropped>
UnansweredEnds ReplyQueue::settle_before_question(Dropped&& dropped) {
    const auto question = std::find_if(queue_.begin(), queue_.end(), [](const Expected& entry) {
        return entry.internal && entry.purpose == Purpose::settle;
    });
    if (question == queue_.end()) return {};
    std::for_each(queue_.begin(), question, [&](Expected& entry) {
        if (entry.what != Expect::sync) ledger_.skipped(entry.on_server);
        dropped(entry);
    });
    return erase_from(queue_.begin(), question, [](const Expected&) { return true; });
}

}  // namespace pgsteer::proxy
