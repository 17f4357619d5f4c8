#include "proxy/auth/digest.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <limits>
#include <memory>
#include <stdexcept>

namespace pgsteer::proxy::auth {
namespace {

void require(bool ok, const char* what) {
    if (!ok) throw std::runtime_error{std::string{"OpenSSL: "} + what + " failed"};
}

// OpenSSL takes a null pointer for a missing key, which is an error, not for an empty one.
const char* chars_of(std::string_view text) { return text.data() == nullptr ? "" : text.data(); }

const unsigned char* data_of(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(chars_of(text));
}

int int_size(std::string_view text) {
    require(text.size() <= std::numeric_limits<int>::max(), "size check");
    return static_cast<int>(text.size());
}

// Fetched once: EVP_sha256() alone would search the providers at each use.
const EVP_MD* fetched_sha256() {
    static const std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> md{
        EVP_MD_fetch(nullptr, "SHA256", nullptr), &EVP_MD_free};
    require(md != nullptr, "fetching SHA256");
    return md.get();
}

// The 6 bits of one base64 character; -1 for any other, '=' too.
int sextet(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

}  // namespace

Digest sha256(std::string_view data) {
    Digest digest{};
    require(EVP_Digest(data.data(), data.size(), digest.data(), nullptr, fetched_sha256(),
                       nullptr) == 1,
            "SHA256");
    return digest;
}

Digest hmac_sha256(std::string_view key, std::string_view data) {
    Digest digest{};
    require(HMAC(fetched_sha256(), key.data(), int_size(key), data_of(data), data.size(),
                 digest.data(), nullptr) != nullptr,
            "HMAC");
    return digest;
}

Digest pbkdf2_sha256(std::string_view password, std::string_view salt, std::uint32_t iterations) {
    Digest digest{};
    require(iterations <= static_cast<std::uint32_t>(std::numeric_limits<int>::max()), "PBKDF2");
    require(PKCS5_PBKDF2_HMAC(chars_of(password), int_size(password), data_of(salt), int_size(salt),
                              static_cast<int>(iterations), fetched_sha256(),
                              static_cast<int>(digest.size()), digest.data()) == 1,
            "PBKDF2");
    return digest;
}

std::string md5_hex(std::string_view data) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::array<std::uint8_t, 16> digest{};
    require(EVP_Digest(data.data(), data.size(), digest.data(), nullptr, EVP_md5(), nullptr) == 1,
            "MD5 (switched off in this OpenSSL?)");
    std::string hex;
    for (const std::uint8_t byte : digest) {
        hex += kDigits[byte >> 4];
        hex += kDigits[byte & 15];
    }
    return hex;
}

std::string random_bytes(std::size_t count) {
    std::string bytes(count, '\0');
    require(RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), int_size(bytes)) == 1,
            "RAND_bytes");
    return bytes;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string base64_encode(std::string_view bytes) {
    std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // EVP_EncodeBlock adds a NUL
    const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                       data_of(bytes), int_size(bytes));
    text.resize(static_cast<std::size_t>(length));
    return text;
}

// EVP_DecodeBlock is of no use here: it accepts white space and yields the padding as zeros.
std::optional<std::string> base64_decode(std::string_view text) {
    if (text.size() % 4 != 0) return std::nullopt;
    std::size_t padding = 0;
    while (padding < 2 && text.ends_with('=')) {
        text.remove_suffix(1);
        ++padding;
    }
    std::string bytes;
    bytes.reserve(text.size() * 3 / 4);
    std::uint32_t bits = 0;
    int held = 0;
    for (const char c : text) {
        const int value = sextet(c);
        if (value < 0) return std::nullopt;
        bits = (bits << 6 | static_cast<std::uint32_t>(value)) & 0xFFF'FFFF;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes += static_cast<char>(bits >> held & 0xFF);
        }
    }
    if ((bits & ((1U << held) - 1)) != 0) return std::nullopt;
    return bytes;
}

}  // namespace pgsteer::proxy::auth
