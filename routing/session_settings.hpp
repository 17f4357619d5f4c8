// The settings a session has made, as the shortest list of statements that makes them again on
// another connection. Pure; SessionState owns one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::routing {

// A session holds at most one connection to the primary and one to a replica.
enum class Slot : std::uint8_t { primary, replica };

class SessionSettings {
public:
    static constexpr std::size_t kMaxBytes = 64 * 1024;

    // Committed on `slot`. False: no room, and nothing was remembered.
    [[nodiscard]] bool set(Slot slot, std::string_view name, std::string_view sql);
    [[nodiscard]] bool reset(Slot slot, std::string_view name, std::string_view sql);
    [[nodiscard]] bool reset_all(Slot slot);
    void discard_all(Slot slot);
    // Holdable cursors on `slot` are gone for the client, but still open there.
    void close_cursors(Slot slot);

    // A name with a dot: PostgreSQL takes any, and never forgets it where it was used once, also in
    // a transaction that was rolled back: it reads '' there from then on, and is not known
    // elsewhere. Not those of our own.
    static bool is_custom(std::string_view name);
    // This one was used on `slot`: on other connections it has to be known, too. False: no room.
    [[nodiscard]] bool used(Slot slot, std::string_view name);
    // Connections of this session may know names of its own.
    [[nodiscard]] bool has_custom() const { return has_custom_; }

    // The session has given it a value of its own.
    [[nodiscard]] bool has(std::string_view name) const;

    // Something was set there that is not repeated elsewhere: RESET ALL has to reach it all the
    // same.
    void touched(Slot slot);

    void new_connection(Slot slot);  // also: the connection is gone
    void applied(Slot slot);         // all that was pending

    [[nodiscard]] bool is_pending(Slot slot) const;
    [[nodiscard]] std::vector<std::string_view> pending(Slot slot) const;
    [[nodiscard]] std::size_t memory_bytes() const { return bytes_; }

private:
    // How an entry bears on the entries around it.
    enum class Kind : std::uint8_t {
        plain,                  // replaces what was said of the same name before
        partial,                // DateStyle: SET changes a part and keeps the rest
        role,                   // decides what the entries behind it may set
        session_authorization,  // the same, and ends `role`
        client_encoding,        // decides how the text of the entries behind it is read
        everything,             // RESET ALL
    };
    struct Entry {
        std::uint64_t number;  // grows with the position; larger than applied_[slot]: pending there
        Kind kind;
        bool is_reset;  // has no effect on a connection on which nothing was set
        std::string name;
        std::string sql;
        [[nodiscard]] std::size_t memory_bytes() const;
    };
    static Kind kind_of(std::string_view name);
    static Entry making_known(std::string_view name);
    [[nodiscard]] std::vector<std::string> custom_names() const;
    bool make_known(Slot slot, const std::vector<std::string>& names);
    bool append(Slot slot, Entry entry);
    template <class Predicate>
    void remove_if(Predicate predicate);
    void remove_superseded_scopes();
    [[nodiscard]] std::size_t first_pending(Slot slot) const;

    std::vector<Entry> entries_;
    std::uint64_t last_number_ = 0;
    std::array<std::uint64_t, 2> applied_{};
    std::array<bool, 2> untouched_{true, true};  // nothing was ever set on this connection
    std::array<bool, 2> unlisted_{};             // something was set there that no entry tells of
    std::array<bool, 2> close_cursors_{};
    std::size_t bytes_ = 0;
    bool has_custom_ = false;
};

}  // namespace pgsteer::routing
