// A transaction of the client's that no server has yet, or that runs on a replica and may still be
// moved to the primary: what it takes to open it once more. Pure; told by the relay, like
// SessionState.
#pragma once

#include "routing/read_options.hpp"
#include "routing/statement.hpp"
#include "routing/transaction_modes.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgsteer::routing {

class DeferredTransaction {
public:
    // Bytes of statements that are kept to be repeated. A transaction with more of them has to be
    // moved while they are still known: see is_full().
    static constexpr std::size_t kMaxBytes = 64 * 1024;

    enum class Stage : std::uint8_t {
        none,     // there is no transaction, or it is the business of one server for good
        waiting,  // the client is in a transaction that no server has
        open,     // a replica has it
    };

    // --- told by the relay ---
    // BEGIN was answered without a server.
    void begin(const Effect& begin, const DefaultModes& defaults, const ReadOptions& options);
    // SET TRANSACTION was answered without a server.
    void set_modes(const Effect& set_transaction);
    // The client's own BEGIN has completed on a replica.
    void begun_on_replica(const Effect& begin, const DefaultModes& defaults);
    // opening() was sent to a replica.
    void opened() {
        stage_ = Stage::open;
        was_opened_ = true;
    }
    // It is to be opened once more, elsewhere.
    void wait() { stage_ = Stage::waiting; }
    // A query was run in it there: too late for SET TRANSACTION, wherever it goes.
    void queried() { queried_ = stage_ == Stage::open || queried_; }
    // From here on it cannot leave its replica.
    void tie() { tied_ = stage_ == Stage::open || tied_; }
    // A statement completed on the replica that has it.
    void completed(const Effect& effect);
    // What is to be done on the primary when it commits; it cannot go there itself.
    void keep_for_primary(std::string sql) { keep({.sql = std::move(sql), .for_primary = true}); }
    // An error: what was set since the last savepoint is undone.
    void failed();
    // It ended, or the primary has it.
    void clear() { *this = DeferredTransaction{}; }

    // --- asked ---
    [[nodiscard]] Stage stage() const { return stage_; }
    [[nodiscard]] bool is_waiting() const { return stage_ == Stage::waiting; }
    [[nodiscard]] bool is_open() const { return stage_ == Stage::open; }
    [[nodiscard]] bool is_read_only() const { return modes_.read_only.value_or(false); }
    // BEGIN READ WRITE is in its opening, which a standby refuses.
    [[nodiscard]] bool says_read_write() const { return says_read_write_; }
    [[nodiscard]] Isolation isolation() const {
        return modes_.isolation.value_or(Isolation::serializable);
    }
    // Of an open one: whether a statement may as well run in one opened anew. With REPEATABLE READ
    // only until the snapshot was taken.
    [[nodiscard]] bool may_move() const {
        return stage_ == Stage::open && !tied_ &&
               (!queried_ || isolation() == Isolation::read_committed);
    }
    // It waits, and no server ever had it: SET TRANSACTION may still say of which kind it is.
    [[nodiscard]] bool is_fresh() const { return stage_ == Stage::waiting && !was_opened_; }
    [[nodiscard]] bool is_full() const { return bytes_ > kMaxBytes; }
    // Nothing was done that its end has to undo or to keep.
    [[nodiscard]] bool is_untouched() const { return log_.empty(); }
    // COMMIT or ROLLBACK has completed: a BEGIN behind it, in the same request, is another one.
    [[nodiscard]] bool has_ended() const { return has_ended_; }
    [[nodiscard]] const ReadOptions& options() const { return options_; }  // of BEGIN's comment
    // What has been set in it of default_transaction_read_only, as the client sees it; nullopt:
    // nothing; no value: it was reset.
    struct ReadOnlyDefault {
        std::optional<bool> value;
        bool operator==(const ReadOnlyDefault&) const = default;
    };
    [[nodiscard]] std::optional<ReadOnlyDefault> read_only_default() const;
    // In the order of the client's; empty: nothing.
    [[nodiscard]] std::string kept_for_primary() const;
    // The text that opens it, with all that has been done in it so far.
    [[nodiscard]] std::string opening(bool on_replica) const;
    [[nodiscard]] std::size_t memory_bytes() const { return bytes_; }
    bool operator==(const DeferredTransaction&) const = default;

private:
    struct Entry {
        bool is_savepoint = false;
        std::string name = {};                          // of the savepoint
        std::string sql = {};                           // empty: not to be repeated
        std::optional<ReadOnlyDefault> read_only = {};  // it sets this
        bool for_primary = false;
        [[nodiscard]] std::size_t bytes() const;
        bool operator==(const Entry&) const = default;
    };
    void keep(Entry entry);
    [[nodiscard]] std::size_t find_savepoint(std::string_view name) const;  // log_.size(): none
    void remove_from(std::size_t first, bool savepoints_only);

    Stage stage_ = Stage::none;
    bool was_opened_ = false;
    bool queried_ = false;
    bool has_ended_ = false;
    bool tied_ = false;
    bool says_read_write_ = false;
    bool sets_isolation_ = false;  // on a replica, where the session's default is not known
    TransactionModes modes_;
    ReadOptions options_;
    std::vector<std::string> opening_;  // BEGIN, SET TRANSACTION ...
    std::vector<Entry> log_;            // savepoints that are open, settings that were made
    std::size_t bytes_ = 0;
};

}  // namespace pgsteer::routing
