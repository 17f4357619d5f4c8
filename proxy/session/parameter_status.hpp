#pragma once

#include "proxy/server/server_connection.hpp"
#include "proxy/wire/bytes.hpp"

#include <string>
#include <string_view>

namespace pgsteer::proxy {

// What the client has been told by ParameterStatus. Two servers tell the client one story: only
// changes are passed on, and what differs on a replica by nature is never shown.
class ParameterView {
public:
    // The first report, at login. From a replica, what differs by nature is turned into the
    // values that a primary usually has.
    void start(const ReportedParameters& parameters, bool from_replica);
    // A server reports; true if the client has to hear of it.
    bool changed(std::string_view name, std::string_view value);
    [[nodiscard]] const ParameterMap& all() const { return parameters_.all(); }
    // The same, to be shared.
    [[nodiscard]] const ReportedParameters& reported() const { return parameters_; }

    // False where SQL text cannot be lexed safely: standard_conforming_strings=off, or a
    // client_encoding whose trail bytes can look like ASCII (SJIS, BIG5, GBK, UHC, GB18030, JOHAB,
    // SHIFT_JIS_2004).
    [[nodiscard]] bool can_classify() const { return can_classify_; }

private:
    void note();
    ReportedParameters parameters_;
    bool can_classify_ = true;
};

}  // namespace pgsteer::proxy
