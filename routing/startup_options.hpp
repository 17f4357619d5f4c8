// The settings in a startup packet, as PostgreSQL reads them. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgsteer::routing {

struct StartupSetting {
    std::string name;  // in lower case
    std::string value;
    bool operator==(const StartupSetting&) const = default;
};

// The settings that the startup parameter `options` holds, in their order: -c name=value,
// -cname=value, --name=value, with - for _ in the names, and the switches of their own that stand
// for a setting. Blanks end an argument, a backslash makes the character behind it part of it. What
// PostgreSQL refuses is left out: it is for the server to say so.
std::vector<StartupSetting> settings_in_options(std::string_view options);

// All settings of a startup packet; of two of one name the later one counts. `options` come first,
// wherever they stand: PostgreSQL lets the parameters of the packet override them.
std::vector<StartupSetting> startup_settings(
    std::span<const std::pair<std::string, std::string>> parameters);

// The value of one of them; nullopt: it is not among them.
std::optional<std::string> find_setting(std::span<const StartupSetting> settings,
                                        std::string_view name);

}  // namespace pgsteer::routing
