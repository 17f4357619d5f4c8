// What a session has made on one of its server connections, and what is there alone. Pure.
#pragma once

#include "routing/kept_state.hpp"
#include "routing/session_settings.hpp"
#include "routing/statement.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::routing {

// Names of which it matters whether any is left: channels, holdable cursors. Bounded: beyond
// kMaxNames it only remembers that there are more, until clear().
class NameSet {
public:
    static constexpr std::size_t kMaxNames = 256;
    void add(std::string_view name);
    void remove(std::string_view name);
    void clear();
    [[nodiscard]] bool empty() const { return names_.empty() && !more_; }
    [[nodiscard]] std::size_t memory_bytes() const;

private:
    std::vector<std::string> names_;
    bool more_ = false;
};

// The connection has it, for as long as one session does; SessionState tells it what has lasted, of
// temporary tables, locks and the like on connections to the primary alone.
struct ConnectionState {
    SettingsApplied settings;
    NameSet hold_cursors;
    NameSet channels;
    bool temporary = false;
    bool advisory_locks = false;   // of the session; not undone by a rollback
    bool prepared_in_sql = false;  // its statements are here only
    bool unnamed_custom = false;   // a custom setting was used whose name is not known
    std::string backend_state;     // the function that has set it
    std::string resettable_state;  // the same, where RESET ALL undoes it

    // May be left by a request, whatever comes of it.
    void kept(const Kept& kept);

    // Why what reads has to run here. nullopt: it need not.
    [[nodiscard]] std::optional<Pin> pin() const;
    // Of Pin::backend_state.
    [[nodiscard]] const std::string& pinned_by() const {
        return backend_state.empty() ? resettable_state : backend_state;
    }
    // Without it something is lost that cannot be made anew elsewhere.
    [[nodiscard]] bool is_irreplaceable() const;
    [[nodiscard]] std::size_t memory_bytes() const;
};

}  // namespace pgsteer::routing
