#include "routing/startup_options.hpp"

#include "routing/lower.hpp"

#include <algorithm>

namespace pgsteer::routing {
namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// pg_split_opts(): a backslash at the very end stands for nothing.
std::vector<std::string> arguments_of(std::string_view options) {
    std::vector<std::string> arguments;
    std::size_t at = 0;
    for (;;) {
        while (at < options.size() && is_blank(options[at])) ++at;
        if (at == options.size()) return arguments;
        std::string argument;
        for (; at < options.size() && !is_blank(options[at]); ++at) {
            if (options[at] == '\\' && ++at == options.size()) break;
            argument.push_back(options[at]);
        }
        arguments.push_back(std::move(argument));
    }
}

// Switches of postgres(1) with an argument; --name=value is switch `-` to it.
bool has_argument(char letter) {
    return std::string_view{"-BcCDdfhkNprStvW"}.find(letter) != std::string_view::npos;
}

// What the other switches set, as far as a client may.
StartupSetting of_switch(char letter, std::string value) {
    switch (letter) {
        case 'e':
            return {"datestyle", "euro"};
        case 'S':
            return {"work_mem", std::move(value)};
        default:
            return {};
    }
}

// ParseLongOption(): without a value the login fails.
StartupSetting long_option(std::string_view text) {
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) return {};
    std::string name = lower(text.substr(0, equals));
    std::replace(name.begin(), name.end(), '-', '_');
    return {std::move(name), std::string{text.substr(equals + 1)}};
}

}  // namespace

// getopt(3): several switches may share one argument, and the last may have its value in it, or
// behind it.
std::vector<StartupSetting> settings_in_options(std::string_view options) {
    std::vector<StartupSetting> settings;
    const auto arguments = arguments_of(options);
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        std::string_view rest = arguments[i];
        if (rest.size() < 2 || rest.front() != '-' || rest == "--") return settings;
        for (rest.remove_prefix(1); !rest.empty();) {
            const char letter = rest.front();
            rest.remove_prefix(1);
            std::string value;
            if (has_argument(letter)) {
                if (rest.empty() && ++i == arguments.size()) return settings;
                value = rest.empty() ? arguments[i] : std::string{rest};
                rest = {};
            }
            auto setting = letter == 'c' || letter == '-' ? long_option(value)
                                                          : of_switch(letter, std::move(value));
            if (!setting.name.empty()) settings.push_back(std::move(setting));
        }
    }
    return settings;
}

std::vector<StartupSetting> startup_settings(
    std::span<const std::pair<std::string, std::string>> parameters) {
    std::vector<StartupSetting> settings;
    for (const auto& [name, value] : parameters)
        if (name == "options") settings = settings_in_options(value);
    for (const auto& [name, value] : parameters)
        if (name != "options") settings.push_back({lower(name), value});
    return settings;
}

std::optional<std::string> find_setting(std::span<const StartupSetting> settings,
                                        std::string_view name) {
    const auto found =
        std::find_if(settings.rbegin(), settings.rend(),
                     [&](const StartupSetting& setting) { return setting.name == name; });
    if (found == settings.rend()) return std::nullopt;
    return found->value;
}

}  // namespace pgsteer::routing
