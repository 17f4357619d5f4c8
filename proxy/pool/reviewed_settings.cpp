#include "proxy/pool/reviewed_settings.hpp"

#include "routing/lower.hpp"
#include "routing/search_path.hpp"
#include "routing/startup_options.hpp"

#include <algorithm>

namespace pgsteer::proxy {
namespace {

constexpr std::string_view kDateStyle = "DateStyle";

// As an argument in the startup parameter `options`.
std::string as_option(std::string_view name, std::string_view value) {
    std::string option{"-c "};
    option.append(name).push_back('=');
    for (const char c : value) {
        if (c == '\\' || c == ' ' || (c >= '\t' && c <= '\r')) option.push_back('\\');
        option.push_back(c);
    }
    return option;
}

}  // namespace

std::string reviewed_columns() {
    std::string columns;
    for (const auto name : kReviewedSettings) {
        if (!columns.empty()) columns += ", ";
        columns.append("pg_catalog.current_setting('").append(name).append("', true)");
    }
    return columns;
}

SettingValues setting_values(const std::vector<std::optional<std::string>>& row) {
    SettingValues values;
    for (std::size_t i = 0; i < values.size() && i < row.size(); ++i) values[i] = row[i];
    return values;
}

SettingSet differing(const SettingValues& primary, const SettingValues& replica) {
    SettingSet result;
    for (std::size_t i = 0; i < primary.size(); ++i)
        result[i] = primary[i] && replica[i] && *primary[i] != *replica[i];
    return result;
}

SessionKind kind_of_session(std::string database,
                            std::string user,
                            const wire::Parameters& parameters) {
    SessionKind kind{std::move(database), std::move(user), {}};
    for (const auto& setting : routing::startup_settings(parameters)) {
        if (setting.name != routing::lower(kDateStyle)) continue;
        if (!kind.date_style.empty()) kind.date_style.push_back(' ');
        kind.date_style += as_option(setting.name, setting.value);
    }
    return kind;
}

SettingSet brought_along(const wire::Parameters& parameters) {
    const auto settings = routing::startup_settings(parameters);
    SettingSet result;
    for (std::size_t i = 0; i < kReviewedSettings.size(); ++i)
        result[i] =
            kReviewedSettings[i] != kDateStyle &&
            routing::find_setting(settings, routing::lower(kReviewedSettings[i])).has_value();
    return result;
}

wire::Parameters with_settings(wire::Parameters parameters,
                               const SettingValues& values,
                               SettingSet chosen) {
    std::string options;
    for (std::size_t i = 0; i < kReviewedSettings.size(); ++i) {
        if (!chosen[i] || !values[i]) continue;
        if (!options.empty()) options.push_back(' ');
        options += as_option(kReviewedSettings[i], *values[i]);
    }
    if (options.empty()) return parameters;
    bool has_options = false;  // of several PostgreSQL takes the last
    for (auto& [name, value] : parameters) {
        if (name != "options") continue;
        has_options = true;
        value.insert(0, options + ' ');
    }
    if (!has_options) parameters.emplace_back("options", std::move(options));
    return parameters;
}

// Lists of names (search_path) are kept as one text, which SET would take for one name.
std::string set_statement(std::size_t setting, std::string_view value) {
    std::string sql{"SELECT pg_catalog.set_config('"};
    sql.append(kReviewedSettings[setting]).append("', ").append(routing::quote_literal(value));
    return sql.append(", false)");
}

}  // namespace pgsteer::proxy
