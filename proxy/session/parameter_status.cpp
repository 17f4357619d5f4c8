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

void ParameterView::start(const ReportedParameters& parameters, bool from_replica) {
    parameters_ = parameters;
    for (const auto& [name, value] : parameters.all())
        if (from_replica && differs_on_a_replica(name)) parameters_.set(name, "off");
    note();
}

bool ParameterView::changed(std::string_view name, std::string_view value) {
    if (!parameters_.set(name, value)) return false;
    if (name == "standard_conforming_strings" || name == "client_encoding") note();
    return true;
}

void ParameterView::note() {
    const auto* strings = parameters_.find("standard_conforming_strings");
    const auto* encoding = parameters_.find("client_encoding");
    can_classify_ = (strings == nullptr || *strings == "on") &&
                    (encoding == nullptr || is_safe_encoding(*encoding));
}

}  // namespace pgsteer::proxy
