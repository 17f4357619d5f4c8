#include "health/read_in_parts.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include <set>

namespace pgsteer::health {
namespace {

namespace asio = boost::asio;

// A server that refuses every query that touches one of `bad`.
struct Reader {
    std::set<std::size_t> bad = {};
    PgError::Kind failure = PgError::Kind::rejected;
    std::set<std::size_t> read = {};
    std::set<std::size_t> refused = {};
    int queries = 0;
    PgError result = {};

    void run(std::size_t count) {
        asio::io_context io;
        asio::co_spawn(io, go(count), asio::detached);
        io.run();
    }

    asio::awaitable<void> go(std::size_t count) {
        result = co_await read_in_parts(
            count,
            [this](std::size_t first, std::size_t size) -> asio::awaitable<PgRows> {
                ++queries;
                PgRows rows;
                for (std::size_t i = first; i < first + size; ++i)
                    if (bad.contains(i)) rows.error = {failure, "XX000", "gone"};
                for (std::size_t i = first; i < first + size && !rows.error; ++i) read.insert(i);
                co_return rows;
            },
            [this](std::size_t index) { refused.insert(index); });
    }
};

TEST(ReadInParts, ReadsAllButWhatIsRefused) {
    Reader reader{.bad = {3, 500, 501, 999}};
    reader.run(1000);
    EXPECT_FALSE(reader.result);
    EXPECT_EQ(reader.refused, reader.bad);
    EXPECT_EQ(reader.read.size(), 996U);
    EXPECT_LE(reader.queries, 2 * 4 * 11);
}

TEST(ReadInParts, TakesOneQueryIfNothingIsRefused) {
    Reader reader;
    reader.run(1000);
    EXPECT_EQ(reader.queries, 1);
    EXPECT_EQ(reader.read.size(), 1000U);
    Reader nothing;
    nothing.run(0);
    EXPECT_EQ(nothing.queries, 0);
}

TEST(ReadInParts, EndsWithTheConnection) {
    Reader reader{.bad = {700}, .failure = PgError::Kind::lost};
    reader.run(1000);
    EXPECT_EQ(reader.result.kind, PgError::Kind::lost);
    EXPECT_EQ(reader.queries, 1);
    EXPECT_TRUE(reader.refused.empty());
}

}  // namespace
}  // namespace pgsteer::health
