// The settings a session has made, as the shortest list of statements that makes them again on
// another connection. Pure; SessionState owns one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::routing {

// A session holds at most one connection to the primary and one to a replica.
enum class Slot : std::uint8_t { primary, replica };

// How far one connection has the settings of its session. A new one has none.
class SettingsApplied {
    friend class SessionSettings;
    std::uint64_t number_ = 0;    // of the last entry that it has
    bool untouched_ = true;       // nothing was ever set there
    bool unlisted_ = false;       // something was set there that no entry tells of
    bool close_cursors_ = false;  // holdable ones are gone for the client, but still open there
};

class SessionSettings {
public:
    static constexpr std::size_t kMaxBytes = 64 * 1024;

    // Committed on this connection. `other`: the session's other one; null: there is none. False:
    // no room, and nothing was remembered.
    [[nodiscard]] bool set(SettingsApplied& on, std::string_view name, std::string_view sql);
    [[nodiscard]] bool reset(SettingsApplied& on, std::string_view name, std::string_view sql);
    [[nodiscard]] bool reset_all(SettingsApplied& on, const SettingsApplied* other);
    void discard_all(SettingsApplied& on, SettingsApplied* other);
    // Holdable cursors there are gone for the client, but still open.
    static void close_cursors(SettingsApplied& on) { on.close_cursors_ = true; }

    // A name with a dot: PostgreSQL takes any, and never forgets it where it was used once, also in
    // a transaction that was rolled back: it reads '' there from then on, and is not known
    // elsewhere. Not those of our own.
    static bool is_custom(std::string_view name);
    // This one was used there: on other connections it has to be known, too. False: no room.
    [[nodiscard]] bool used(SettingsApplied& on, std::string_view name);
    // Connections of this session may know names of its own.
    [[nodiscard]] bool has_custom() const { return has_custom_; }

    // The session has given it a value of its own.
    [[nodiscard]] bool has(std::string_view name) const;

    // Something was set there that is not repeated elsewhere: RESET ALL has to reach it all the
    // same.
    void touched(SettingsApplied& on) const;

    void applied(SettingsApplied& on) const;  // all that was pending

    [[nodiscard]] bool is_pending(const SettingsApplied& on) const;
    [[nodiscard]] std::vector<std::string_view> pending(const SettingsApplied& on) const;
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
        std::uint64_t number;  // grows with the position; larger than a connection's: pending there
        Kind kind;
        bool is_reset;  // has no effect on a connection on which nothing was set
        std::string name;
        std::string sql;
        [[nodiscard]] std::size_t memory_bytes() const;
    };
    static Kind kind_of(std::string_view name);
    static Entry making_known(std::string_view name);
    [[nodiscard]] std::vector<std::string> custom_names() const;
    bool make_known(SettingsApplied& on, const std::vector<std::string>& names);
    bool append(SettingsApplied& on, Entry entry);
    template <class Predicate>
    void remove_if(Predicate predicate);
    void remove_superseded_scopes();
    [[nodiscard]] std::size_t first_pending(const SettingsApplied& on) const;

    std::vector<Entry> entries_;
    std::uint64_t last_number_ = 0;
    std::size_t bytes_ = 0;
    bool has_custom_ = false;
};

}  // namespace pgsteer::routing
