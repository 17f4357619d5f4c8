// What a session's statements have done to its state: transaction, settings, savepoints, pins.
// Pure: told by the relay what completed, asked by decide and by whoever opens or uses a server
// connection.
#pragma once

#include "routing/connection_state.hpp"
#include "routing/kept_state.hpp"
#include "routing/session_settings.hpp"
#include "routing/statement.hpp"
#include "routing/transaction_status.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::routing {

class SessionState {
public:
    // Bytes of the open transaction's effects that are kept; beyond it they count as if committed,
    // in the way that costs offload only.
    static constexpr std::size_t kMaxStagedBytes = 64 * 1024;

    // --- told by the relay, in the order of the server's answers ---
    // Statement `index` of `statement` completed on `slot`; `command_tag` as in CommandComplete
    // (COMMIT of a failed transaction answers "ROLLBACK"). Of a text that was not parsed the tag
    // and a word here and there are all that is known.
    void completed(Slot slot,
                   const Statement& statement,
                   std::uint16_t index,
                   std::string_view command_tag);
    // An ErrorResponse arrived: what the current implicit transaction staged is undone by
    // ready(idle); in an open transaction only ROLLBACK [TO] can follow.
    void failed();
    // ReadyForQuery arrived from `slot`.
    void ready(Slot slot, TransactionStatus status);
    // The client is in a transaction that no server has: it may still be opened anywhere. What was
    // staged in it stays staged.
    void transaction_waits();
    // It was opened there by statements of our own.
    void transaction_opened(Slot slot);
    // It ended without a server.
    void transaction_dropped();
    // A request that was sent to `slot` may leave this in its server process, whatever comes of it.
    void kept(Slot slot, const Kept& kept);
    // A new server connection, which has `state` until disconnected(): nothing of the session's is
    // there yet.
    void connected(Slot slot, ConnectionState& state);
    void disconnected(Slot slot);  // its state is gone

    // --- transaction ---
    [[nodiscard]] TransactionStatus transaction_status() const {
        return waits_ ? TransactionStatus::in_block : status_;
    }
    // nullopt: no server has an open transaction.
    [[nodiscard]] std::optional<Slot> transaction_on() const;
    // What SET has said of the transactions to come.
    [[nodiscard]] const TransactionModes& default_modes() const { return default_modes_; }
    [[nodiscard]] const TransactionModes& startup_modes() const { return startup_modes_; }
    void start_with(const TransactionModes& modes) { default_modes_ = startup_modes_ = modes; }

    // --- state that lives on one connection only ---
    // Set while reads have to run on the primary connection.
    [[nodiscard]] std::optional<Pin> pin() const;
    // Of Pin::backend_state: the function that has set it.
    [[nodiscard]] const std::string& pinned_by() const;
    [[nodiscard]] bool has_set(std::string_view name) const { return settings_.has(name); }
    // Its connections may know custom settings: no other session may be given them.
    [[nodiscard]] bool has_custom_settings() const { return settings_.has_custom(); }
    // True if losing the connection of `slot` loses what cannot be rebuilt elsewhere: an open
    // transaction, temporary tables, LISTEN, holdable cursors, advisory locks, settings of unknown
    // value.
    [[nodiscard]] bool irreplaceable(Slot slot) const;
    // Where FETCH, MOVE and CLOSE outside of a transaction have to run. nullopt: no holdable cursor
    // open.
    [[nodiscard]] std::optional<Slot> cursor_on() const;

    // --- what the session asks of its reads: SET pgsteer.* ---
    void start_with(const ReadOptions& options) { options_ = startup_options_ = options; }
    [[nodiscard]] const ReadOptions& read_options() const { return options_; }

    // PREPARE was used on the primary's connection: its statements are there only.
    [[nodiscard]] bool has_prepared_in_sql() const;

    // --- settings: what was set on one connection and has to be repeated on the other, or on one
    // to come ---
    [[nodiscard]] bool settings_pending(Slot slot) const;
    // SQL statements in the order they have to run; views are valid until the next call that is not
    // const. Never called while a transaction is open.
    [[nodiscard]] std::vector<std::string_view> pending_settings(Slot slot) const;
    void settings_applied(Slot slot);
    void settings_not_applicable();  // the replica refused one: from now on reads are pinned to the
                                     // primary

    // --- search_path: which functions and tables an unqualified name means ---
    struct SearchPathSetting {
        enum class Kind : std::uint8_t { session_default, value, unknown } kind{};
        std::string value;
        bool role_changed = false;  // "$user" in it is somebody else
        bool operator==(const SearchPathSetting&) const = default;
    };
    [[nodiscard]] const SearchPathSetting& search_path() const { return search_path_; }
    [[nodiscard]] std::size_t memory_bytes() const;

private:
    struct Staged {  // an effect of the open transaction, explicit or implicit
        Effect effect;
        Slot slot;
    };
    struct Savepoint {
        std::string name;
        std::size_t staged_size;  // what was staged when it was set
        std::uint32_t times = 1;  // set so often in a row with nothing staged in between
    };
    void on_effect(Slot slot, const Effect& effect, std::string_view command_tag);
    void on_unparsed(Slot slot, const Statement& statement, std::string_view command_tag);
    void stage(Slot slot, const Effect& effect);
    void truncate_staged(std::size_t size);
    void commit_staged();
    void drop_staged();
    void assume_the_worst_of_staged();
    void apply(Slot slot, const Effect& effect);
    void assume_the_worst(Slot slot, const Effect& effect);
    void set_option(std::string_view name, std::string_view value);
    void note_used(Slot slot, const Effect& effect);
    void not_known(const Effect& effect);
    void note_search_path(const Effect& effect);
    void note_default_modes(const Effect& effect);
    void discard_all_at_once(Slot slot);
    void discard_all(Slot slot);
    void close_cursor(Slot slot, const std::string& name);
    void close_all_cursors(Slot slot);
    void set_savepoint(const std::string& name);
    void release_savepoint(const std::string& name);
    void roll_back_to_savepoint(const std::string& name);
    void lose_track_of_savepoints();
    void truncate_savepoints(std::size_t size);
    [[nodiscard]] std::optional<std::size_t> find_savepoint(const std::string& name) const;
    [[nodiscard]] ConnectionState& on(Slot slot);
    [[nodiscard]] const SettingsApplied& settings_on(Slot slot) const;
    [[nodiscard]] SettingsApplied* settings_of_other(Slot slot);
    [[nodiscard]] const ConnectionState* find(Slot slot) const {
        return connections_[static_cast<std::size_t>(slot)];
    }

    TransactionStatus status_ = TransactionStatus::idle;
    Slot transaction_slot_ = Slot::primary;
    bool waits_ = false;  // see transaction_waits()
    TransactionModes default_modes_;
    TransactionModes startup_modes_;  // what RESET returns to
    bool failed_ = false;             // an error since the last ReadyForQuery
    std::vector<Staged> staged_;
    std::size_t staged_bytes_ = 0;
    std::vector<Savepoint> savepoints_;  // the innermost ones; those before them may be unknown
    std::size_t savepoint_bytes_ = 0;
    SessionSettings settings_;
    ReadOptions options_;
    ReadOptions startup_options_;  // what RESET returns to
    SearchPathSetting search_path_;
    std::array<ConnectionState*, 2> connections_{};  // by Slot; null: there is none
    bool opaque_settings_ = false;
    bool resettable_settings_ = false;  // of unknown value, but RESET ALL undoes them
    bool settings_failed_ = false;
};

}  // namespace pgsteer::routing
