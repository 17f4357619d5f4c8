// The only user of libpq: asynchronous connections for the health thread.
#pragma once

#include "conf/config.hpp"
#include "routing/topology.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pgsteer::health {

struct PgError {
    enum class Kind {
        none,
        lost,      // the connection broke, or was refused
        timeout,   // no answer until the deadline; the connection is closed
        rejected,  // the server said no; `sqlstate` may be empty (authentication in libpq itself)
    };
    Kind kind = Kind::none;
    std::string sqlstate;
    std::string text;  // one line
    explicit operator bool() const { return kind != Kind::none; }
};

struct PgRows {
    PgError error;
    routing::TimePoint sent_at = routing::kNever;  // read just before the query was sent
    std::vector<std::vector<std::optional<std::string>>> rows;  // of all results, one after another
};

// Keyword and value pairs as libpq reads them; host must be a directory, hostaddr an address: libpq
// would resolve names while everything waits.
using PgParameters = std::vector<std::pair<std::string, std::string>>;

// One connection, or none. For one thread; one operation at a time, and the object must outlive it.
class PgClient {
public:
    explicit PgClient(boost::asio::any_io_executor executor);
    ~PgClient();
    PgClient(PgClient&&) noexcept;
    PgClient& operator=(PgClient&&) noexcept;

    boost::asio::awaitable<PgError> connect(PgParameters parameters, routing::TimePoint deadline);
    // One or more statements as a simple query. Rows of all of them are returned; the first error
    // ends it.
    boost::asio::awaitable<PgRows> query(std::string sql, routing::TimePoint deadline);
    // Calls `on_lost` once if the connection breaks, or the server says farewell, while nothing is
    // asked of it. Until the next operation.
    void watch(std::function<void()> on_lost);
    [[nodiscard]] bool is_connected() const;
    void close();

private:
    struct State;
    std::unique_ptr<State> state_;
};

// A connection URI or keyword string taken apart, without defaults. `error` says what libpq did not
// like.
struct ParsedUri {
    PgParameters parameters;
    std::string error;
};
ParsedUri parse_connection_string(const std::string& text);

}  // namespace pgsteer::health
