// What a server said before it closed a connection, and whether that concerns more than one
// session.
#pragma once

#include "proxy/errors.hpp"
#include "proxy/wire/backend.hpp"

#include <string>
#include <string_view>

namespace pgsteer::proxy {

// The last words on one connection. Pure.
class Farewell {
public:
    // An ErrorResponse or NoticeResponse. Kept are a FATAL, after which the server closes, and
    // 57P02, which servers say as a WARNING to those whose server process did not crash itself.
    void heard(const wire::ErrorFields& said);
    // The connection was reset: the server process had not read all that it was sent, so it did not
    // end of that.
    void was_reset() { was_ended_ = true; }

    [[nodiscard]] bool is_silent() const { return sqlstate_.empty() && !was_ended_; }
    [[nodiscard]] std::string_view sqlstate() const { return sqlstate_; }
    // Whether a connection that ended with it speaks against the server: it ended without a word,
    // or with one that is said to everybody. All other FATALs end one session.
    [[nodiscard]] bool speaks_of_the_server() const;

private:
    std::string sqlstate_;
    bool was_ended_ =
        false;  // by others: WARNING 57P01 (pg_ctl stop -m immediate, from 14 on), or a reset
};

// Whether a login that was rejected with this SQLSTATE would be rejected for everybody.
bool rejects_everybody(std::string_view sqlstate);
// Whether a connect or login that failed with this error speaks against the server: nobody answers
// there. What fails on our side (no socket, no password, no address found) does not.
bool is_unreachable(const error_code& error);

}  // namespace pgsteer::proxy
