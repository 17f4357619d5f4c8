#include "proxy/wire/message_boundary.hpp"

#include "tests/unit/protocol/wire_bytes.hpp"

namespace pgsteer::proxy::wire {
namespace {

// Where in "T....abc" "Z...." "d....xy" a message of one's own fits in.
TEST(MessageBoundary, IsKnownHoweverTheStreamIsCut) {
    const Buffer stream = buffer_of("T\0\0\0\7abcZ\0\0\0\4d\0\0\0\6xy"sv);
    const std::vector<std::size_t> boundaries{0, 8, 13, 20};
    for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
        MessageBoundary boundary;
        for (std::size_t at = 0; at < stream.size();) {
            const bool expected =
                std::find(boundaries.begin(), boundaries.end(), at) != boundaries.end();
            EXPECT_EQ(boundary.is_between_messages(), expected) << piece << " " << at;
            const auto size = std::min(piece, stream.size() - at);
            boundary.passed(Bytes{stream}.subspan(at, size));
            at += size;
        }
        EXPECT_TRUE(boundary.is_between_messages());
    }
}

TEST(MessageBoundary, IsLostBehindALengthThatDoesNotCountItself) {
    MessageBoundary boundary;
    boundary.passed(buffer_of("Q\0\0\0\3Z\0\0\0\4"sv));
    EXPECT_FALSE(boundary.is_between_messages());
}

}  // namespace
}  // namespace pgsteer::proxy::wire
