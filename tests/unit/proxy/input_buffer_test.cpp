#include "proxy/io/input_buffer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

namespace pgsteer::proxy {
namespace {

using wire::Buffer;

Buffer contents(const InputBuffer& buffer) { return {buffer.data().begin(), buffer.data().end()}; }

// Reads as much as is offered, `count` at most.
std::size_t fill(InputBuffer& buffer, std::size_t count, std::uint8_t value = 'x') {
    const auto room = buffer.prepare();
    count = std::min(count, room.size());
    std::fill_n(room.begin(), count, value);
    buffer.commit(count);
    return count;
}

void fill_up_to(InputBuffer& buffer, std::size_t size) {
    while (buffer.size() < size) fill(buffer, size - buffer.size());
}

TEST(InputBuffer, IsEmptyAtFirst) {
    InputBuffer buffer;
    EXPECT_TRUE(buffer.empty());
    EXPECT_EQ(buffer.size(), 0U);
    EXPECT_EQ(buffer.data().data(), nullptr);
}

TEST(InputBuffer, OfTheThreadRestAndReadInTurnInOneBlock) {
    InputBuffer first, second;
    ASSERT_EQ(fill(first, 200), 200U);
    const auto* const block = first.data().data();
    first.consume(200);
    first.rest();
    EXPECT_EQ(first.data().data(), nullptr);
    ASSERT_EQ(fill(second, 200), 200U);
    EXPECT_EQ(second.data().data(), block);
    ASSERT_EQ(fill(first, 200), 200U);
    EXPECT_NE(first.data().data(), block);
}

// There may be thousands of connections: what one holds while it is idle counts.
static_assert(sizeof(InputBuffer) <= 48);

TEST(InputBuffer, SaysWhetherARoomWasFilled) {
    InputBuffer buffer;
    auto room = buffer.prepare();
    EXPECT_FALSE(buffer.commit(room.size() - 1));
    buffer.consume(buffer.size());
    room = buffer.prepare();
    EXPECT_TRUE(buffer.commit(room.size()));
    buffer.prepare();
    EXPECT_FALSE(buffer.commit(0));
}

TEST(InputBuffer, OffersMoreWhenReadsFillIt) {
    InputBuffer buffer;
    std::size_t largest = 0;
    for (int i = 0; i < 10; ++i) {
        const auto count = fill(buffer, SIZE_MAX);
        EXPECT_GE(count, largest);
        largest = count;
        buffer.consume(count);
    }
    EXPECT_EQ(largest, InputBuffer::kReadBytes);
}

TEST(InputBuffer, HoldsAMessageOfAnySize) {
    InputBuffer buffer;
    std::uint8_t value = 0;
    Buffer expected;
    while (buffer.size() < 1'000'000) {
        const auto count = fill(buffer, 5000, ++value);
        expected.insert(expected.end(), count, value);
    }
    EXPECT_EQ(contents(buffer), expected);
}

TEST(InputBuffer, OwnsNothingWhileItRestsHoweverMuchItHasRead) {
    InputBuffer buffer;
    fill_up_to(buffer, 100'000);
    buffer.consume(buffer.size());
    buffer.rest();
    EXPECT_TRUE(buffer.empty());
    EXPECT_EQ(buffer.data().data(), nullptr);
    for (int i = 0; i < 10; ++i) {
        fill(buffer, 1);
        buffer.consume(1);
        buffer.rest();
    }
    EXPECT_EQ(buffer.prepare().size(), InputBuffer::kSmallBytes);
}

TEST(InputBuffer, KeepsWhatIsUnreadThroughARest) {
    InputBuffer buffer;
    fill_up_to(buffer, 100'000);
    const auto before = contents(buffer);
    buffer.rest();
    EXPECT_EQ(contents(buffer), before);
    buffer.consume(99'999);
    buffer.rest();
    EXPECT_EQ(contents(buffer), Buffer{'x'});
}

TEST(InputBuffer, DoesNotGrowForUnreadBytesThatAreConsumedInTime) {
    InputBuffer buffer;
    std::size_t received = 0;
    for (int i = 0; i < 10'000; ++i) {
        received += fill(buffer, 100);
        while (buffer.size() > 150) buffer.consume(77);
    }
    EXPECT_GT(received, 500'000U);
    EXPECT_LE(buffer.prepare().size(), 4 * InputBuffer::kSmallBytes);
}

// Against the plainest of buffers, with everything that a session may do.
TEST(InputBuffer, IsAQueueOfBytes) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random{seed};
    const auto up_to = [&](std::size_t most) {
        return std::uniform_int_distribution<std::size_t>{0, most}(random);
    };
    for (int round = 0; round < 20; ++round) {
        InputBuffer buffer;
        std::deque<std::uint8_t> model;
        std::uint8_t next = 0;
        for (int step = 0; step < 150; ++step) {
            switch (up_to(7)) {
                case 0:
                case 1:
                case 2: {
                    const auto room = buffer.prepare();
                    ASSERT_GE(room.size(), 1U);
                    ASSERT_LE(room.size(), InputBuffer::kReadBytes);
                    const auto count = up_to(2) == 0
                                           ? room.size()
                                           : up_to(std::min<std::size_t>(room.size(), 3000));
                    for (std::size_t i = 0; i < count; ++i) model.push_back(room[i] = next++);
                    ASSERT_EQ(buffer.commit(count), count == room.size());
                    break;
                }
                case 3:
                    (void)buffer.prepare();  // a read that failed
                    break;
                case 4:
                case 5: {
                    const auto count = up_to(buffer.size());
                    buffer.consume(count);
                    model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(count));
                    break;
                }
                case 6:
                    buffer.consume(buffer.size());
                    model.clear();
                    break;
                default:
                    buffer.rest();
                    break;
            }
            ASSERT_EQ(buffer.size(), model.size());
            ASSERT_EQ(buffer.empty(), model.empty());
            ASSERT_TRUE(
                std::equal(model.begin(), model.end(), buffer.data().begin(), buffer.data().end()));
        }
    }
}

}  // namespace
}  // namespace pgsteer::proxy
