#include "proxy/session/parameter_status.hpp"

#include <algorithm>
#include <array>

namespace pgsteer::proxy {

namespace {

// What says "standby", or is set by us on replica connections.
bool differs_on_a_replica(std::string_view name) {
    return name == "in_hot_standby" || name == "default_transaction_read_only";
}

// PostgreSQL docs, "Character Set Support": the encodings that a server may use are ASCII-safe in
// all their bytes; of the client-only ones none is. UNICODE is UTF8, the one alias that PostgreSQL
// reports as the client has spelled it.
bool is_safe_encoding(std::string_view encoding) {
    if (encoding == "UNICODE") return true;
    static constexpr std::array<std::string_view, 7> kPrefixes{
        "UTF8", "SQL_ASCII", "LATIN", "WIN", "ISO_8859", "KOI8", "EUC_"};
    return std::any_of(kPrefixes.begin(), kPrefixes.end(),
                       [&](auto prefix) { return encoding.starts_with(prefix); });
}

}  // namespace

void ParameterView::start(const ParameterMap& parameters, bool from_replica) {
    parameters_ = parameters;
    for (auto& [name, value] : parameters_) {
        if (from_replica && differs_on_a_replica(name)) value = "off";
        note(name, value);
    }
}

bool ParameterView::changed(std::string_view name, std::string_view value) {
    const auto known = parameters_.find(name);
    if (known != parameters_.end() && known->second == value) return false;
    if (known != parameters_.end()) {
        known->second = value;
    } else {
        parameters_.emplace(name, value);
    }
    note(name, value);
    return true;
}

void ParameterView::note(std::string_view name, std::string_view value) {
    if (name != "standard_conforming_strings" && name != "client_encoding") return;
    const auto strings = parameters_.find("standard_conforming_strings");
    const auto encoding = parameters_.find("client_encoding");
    const bool strings_ok = name == "standard_conforming_strings"
                                ? value == "on"
                                : strings == parameters_.end() || strings->second == "on";
    const bool encoding_ok = name == "client_encoding" ? is_safe_encoding(value)
                                                       : encoding == parameters_.end() ||
                                                             is_safe_encoding(encoding->second);
    can_classify_ = strings_ok && encoding_ok;
}

}  // namespace pgsteer::proxy
