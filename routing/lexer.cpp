#include "routing/lexer.hpp"

#include "routing/token_stream.hpp"

#include <bit>

namespace pgsteer::routing {
namespace {

using Wide = unsigned __int128;

std::uint64_t folded_product(std::uint64_t a, std::uint64_t b) {
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

// ASCII capitals among the eight bytes become small letters.
std::uint64_t lower(std::uint64_t bytes) {
    constexpr std::uint64_t kOnes = 0x0101010101010101;
    const std::uint64_t seven_bits = bytes & (kOnes * 0x7f);
    const std::uint64_t at_least_a = seven_bits + kOnes * (0x80 - 'A');
    const std::uint64_t beyond_z = seven_bits + kOnes * (0x7f - 'Z');
    const std::uint64_t capitals = (at_least_a ^ beyond_z) & ~bytes & (kOnes * 0x80);
    return bytes | (capitals >> 2);
}

// Two lanes of multiply-and-fold, each under a secret of its own. Every token is one word that says
// its kind and, if it is short, holds it; a longer one says its length and is followed by its
// bytes: no two streams of tokens give the same sequence of words.
class HashSink {
public:
    HashSink(const HashSecret& secret, const char* end)
        : high_(secret.a ^ 0x9e3779b97f4a7c15),
          low_(secret.b ^ 0xd1b54a32d192ed03),
          high_key_(folded_product(secret.a ^ 0xa0761d6478bd642f, secret.b ^ 0xe7037ed1a0b428db) |
                    1),
          low_key_(folded_product(secret.b ^ 0x8ebc6af09c88c6e3, secret.a ^ 0x589965cc75374cc3) |
                   1),
          end_(end) {}

    void word(const Token& token) { bytes<Fold::lower>(tag(token.kind), token.text()); }
    void quoted(const Token& token) { bytes<Fold::none>(tag(token.kind), token.text()); }
    void op(const Token& token) {
        if (token.size == 1)
            mix(tag(token.kind) | static_cast<unsigned char>(*token.data));
        else
            bytes<Fold::none>(tag(token.kind), token.text());
    }
    void literal(const Token& token, Detail detail) {
        if (detail == Detail::exact)
            bytes<Fold::none>(tag(token.kind), token.text());
        else
            mix(tag(token.kind));
    }
    void group(const Group& group) {
        const std::uint64_t shape = (group.several ? 2U : 0U) | (group.open == '[' ? 1U : 0U);
        if (group.first.kind == TokenKind::word) {
            mix(kGroupOfWords | shape);
            word(group.first);
        } else {
            mix(kGroup | shape | (static_cast<std::uint64_t>(group.first.kind) << 8));
        }
    }
    void options(std::string_view comment, std::uint64_t end) {
        mix(kOptions | end);
        bytes<Fold::none>(tag(TokenKind::string), comment);
    }
    void add(std::uint64_t value) { mix(value); }

    [[nodiscard]] StatementKey key() const {
        return {folded_product(high_ ^ low_key_, high_key_ ^ 0x2d358dccaa6c78a5),
                folded_product(low_ ^ high_key_, low_key_ ^ 0x8bb84b93962eacc9)};
    }

private:
    enum class Fold : std::uint8_t { none, lower };
    static constexpr std::uint64_t kLong = 0x40ULL << 56;
    static constexpr std::uint64_t kGroup = 0x20ULL << 56;
    static constexpr std::uint64_t kGroupOfWords = 0x21ULL << 56;
    static constexpr std::uint64_t kOptions = 0x22ULL << 56;

    static std::uint64_t tag(TokenKind kind) {
        return (0x80ULL | static_cast<std::uint64_t>(kind)) << 56;
    }

    void mix(std::uint64_t value) {
        high_ = folded_product(high_ ^ value, high_key_);
        low_ = folded_product(low_ ^ value, low_key_);
    }

    template <Fold fold>
    void bytes(std::uint64_t kind, std::string_view text) {
        const char* at = text.data();
        std::size_t left = text.size();
        if (left > 7) {
            mix(kind ^ kLong ^ left);
            for (; left > 7; at += 8, left -= 8) {
                std::uint64_t chunk;
                std::memcpy(&chunk, at, 8);
                mix(fold == Fold::lower ? lower(chunk) : chunk);
            }
        }
        const std::uint64_t rest = load(at, left);
        mix(kind | (fold == Fold::lower ? lower(rest) : rest));
    }

    // Up to seven bytes; reads eight at once where the text goes on that far.
    [[nodiscard]] std::uint64_t load(const char* at, std::size_t count) const {
        std::uint64_t value = 0;
        if (end_ - at >= 8) {
            std::memcpy(&value, at, 8);
            return value & ((1ULL << (count * 8)) - 1);
        }
        for (std::size_t i = 0; i < count; ++i)
            value |= static_cast<std::uint64_t>(static_cast<unsigned char>(at[i])) << (i * 8);
        return value;
    }

    std::uint64_t high_;
    std::uint64_t low_;
    std::uint64_t high_key_;
    std::uint64_t low_key_;
    const char* end_;
};
static_assert(std::endian::native == std::endian::little, "load() and memcpy must agree");

struct Pass {
    StreamEnd end;
    Lexed lexed;
};

Pass pass(std::string_view sql, const HashSecret& secret, Detail detail) {
    HashSink sink{secret, sql.data() + sql.size()};
    TokenStream stream{sql, detail, sink};
    const StreamEnd end = stream.run();
    if (!stream.leading_options().empty()) sink.options(stream.leading_options(), 0);
    if (!stream.trailing_options().empty()) sink.options(stream.trailing_options(), 1);
    sink.add(static_cast<std::uint64_t>(stream.hint()) | (stream.saw_junk() ? 8U : 0U) |
             (detail == Detail::exact ? 16U : 0U));
    return {end, {.key = sink.key(), .hint = stream.hint(), .valid = end == StreamEnd::complete}};
}

// PostgreSQL rejects the whole text before it runs any of it: all such texts are one statement.
Lexed invalid(const HashSecret& secret) {
    HashSink sink{secret, nullptr};
    sink.add(32);
    return {.key = sink.key(), .hint = Hint::none, .valid = false};
}

}  // namespace

Lexed lex(std::string_view sql, const HashSecret& secret) {
    Pass result = pass(sql, secret, Detail::folded);
    if (result.end == StreamEnd::needs_exact) result = pass(sql, secret, Detail::exact);
    return result.end == StreamEnd::invalid ? invalid(secret) : result.lexed;
}

}  // namespace pgsteer::routing
