#include "proxy/auth/scram.hpp"

#include "proxy/auth/saslprep.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>
#include <vector>

namespace pgsteer::proxy::auth {
namespace {

constexpr std::uint32_t kMaxServerIterations = 1'000'000;  // about 0.3 s of a worker's time
constexpr std::size_t kMockSaltBytes = 16;                 // SCRAM_DEFAULT_SALT_LEN
constexpr std::size_t kNonceBytes = 18;                    // SCRAM_RAW_NONCE_LEN

// One "x=value" of a message.
struct Attribute {
    char name;
    std::string_view value;
};

bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

// "x=value,y=value". Empty: malformed. RFC 5802, section 5.1.
std::vector<Attribute> parse_attributes(std::string_view message) {
    if (message.size() > kMaxScramMessageBytes || message.find('\0') != message.npos) return {};
    std::vector<Attribute> attributes;
    for (bool more = true; more;) {
        const std::size_t comma = message.find(',');
        const std::string_view part = message.substr(0, comma);
        if (part.size() < 2 || !is_letter(part[0]) || part[1] != '=') return {};
        attributes.push_back({part[0], part.substr(2)});
        more = comma != message.npos;
        if (more) message.remove_prefix(comma + 1);
    }
    return attributes;
}

bool begins_with(const std::vector<Attribute>& attributes, std::string_view names) {
    return attributes.size() >= names.size() &&
           std::equal(names.begin(), names.end(), attributes.begin(),
                      [](char name, Attribute a) { return name == a.name; });
}

// Printable ASCII without space and comma, at least one.
bool is_nonce(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(),
                                        [](char c) { return c > ' ' && c <= '~' && c != ','; });
}

std::optional<std::uint32_t> parse_iterations(std::string_view text) {
    std::uint32_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || at != end || value == 0) return std::nullopt;
    if (value > static_cast<std::uint32_t>(std::numeric_limits<int>::max())) return std::nullopt;
    return value;
}

std::optional<Digest> decode_digest(std::string_view base64) {
    const auto bytes = base64_decode(base64);
    Digest digest{};
    if (!bytes || bytes->size() != digest.size()) return std::nullopt;
    std::copy(bytes->begin(), bytes->end(), digest.begin());
    return digest;
}

Digest exclusive_or(const Digest& a, const Digest& b) {
    Digest result{};
    for (std::size_t i = 0; i < a.size(); ++i) result[i] = static_cast<std::uint8_t>(a[i] ^ b[i]);
    return result;
}

std::string base64_of(const Digest& digest) { return base64_encode(as_view(digest)); }

std::string join(std::string_view a, std::string_view b, std::string_view c) {
    return std::string{a}.append(",").append(b).append(",").append(c);
}

}  // namespace

std::optional<ScramVerifier> parse_verifier(std::string_view text) {
    if (!text.starts_with("SCRAM-SHA-256$")) return std::nullopt;
    text.remove_prefix(kScramSha256.size() + 1);
    const std::size_t salt_at = text.find(':');
    const std::size_t stored_at = text.find('$');
    const std::size_t server_at = text.rfind(':');
    if (salt_at == text.npos || stored_at == text.npos) return std::nullopt;
    if (salt_at >= stored_at || server_at <= stored_at) return std::nullopt;

    const auto iterations = parse_iterations(text.substr(0, salt_at));
    auto salt = base64_decode(text.substr(salt_at + 1, stored_at - salt_at - 1));
    const auto stored = decode_digest(text.substr(stored_at + 1, server_at - stored_at - 1));
    const auto server = decode_digest(text.substr(server_at + 1));
    if (!iterations || !salt || salt->empty() || !stored || !server) return std::nullopt;
    return ScramVerifier{.iterations = *iterations,
                         .salt = std::move(*salt),
                         .stored_key = *stored,
                         .server_key = *server};
}

std::string to_string(const ScramVerifier& verifier) {
    return std::string{kScramSha256} + "$" + std::to_string(verifier.iterations) + ":" +
           base64_encode(verifier.salt) + "$" + base64_of(verifier.stored_key) + ":" +
           base64_of(verifier.server_key);
}

ScramKeys derive_keys(std::string_view password, std::string_view salt, std::uint32_t iterations) {
    const Digest salted = pbkdf2_sha256(saslprep(password), salt, iterations);
    return {.client_key = hmac_sha256(as_view(salted), "Client Key"),
            .server_key = hmac_sha256(as_view(salted), "Server Key")};
}

ScramVerifier make_verifier(std::string_view password,
                            std::string_view salt,
                            std::uint32_t iterations) {
    const ScramKeys keys = derive_keys(password, salt, iterations);
    return {.iterations = iterations,
            .salt = std::string{salt},
            .stored_key = stored_key(keys.client_key),
            .server_key = keys.server_key};
}

Digest stored_key(const Digest& client_key) { return sha256(as_view(client_key)); }

ScramVerifier mock_verifier(std::string_view user, const Digest& secret) {
    const Digest salt = hmac_sha256(as_view(secret), user);
    ScramVerifier mock;
    mock.salt = as_view(salt).substr(0, kMockSaltBytes);
    return mock;
}

std::string random_nonce() { return base64_encode(random_bytes(kNonceBytes)); }

ScramServer::ScramServer(ScramVerifier verifier, bool user_is_known, std::string nonce)
    : verifier_{std::move(verifier)}, known_{user_is_known}, nonce_{std::move(nonce)} {}

// As in PostgreSQL: the user name inside is ignored (the startup packet's counts), extensions are
// too, an authorization identity is refused. 'p' asks for channel binding, which needs TLS.
Result<std::string> ScramServer::first(std::string_view client_first) {
    if (!server_first_.empty()) return ProxyErrc::protocol_violation;
    if (!client_first.starts_with("n,,") && !client_first.starts_with("y,,"))
        return ProxyErrc::protocol_violation;
    const std::string_view bare = client_first.substr(3);
    const auto attributes = parse_attributes(bare);
    if (!begins_with(attributes, "nr") || !is_nonce(attributes[1].value))
        return ProxyErrc::protocol_violation;

    gs2_header_ = client_first.substr(0, 3);
    client_first_bare_ = bare;
    nonce_.insert(0, attributes[1].value);
    server_first_ = "r=" + nonce_ + ",s=" + base64_encode(verifier_.salt) +
                    ",i=" + std::to_string(verifier_.iterations);
    return server_first_;
}

Result<std::string> ScramServer::last(std::string_view client_final) {
    const auto attributes = parse_attributes(client_final);
    if (server_first_.empty() || !begins_with(attributes, "cr") || attributes.size() < 3)
        return ProxyErrc::protocol_violation;
    const auto proof_at = std::find_if(attributes.begin() + 2, attributes.end(),
                                       [](Attribute a) { return a.name == 'p'; });
    if (proof_at == attributes.end() || proof_at + 1 != attributes.end())
        return ProxyErrc::protocol_violation;
    const auto proof = decode_digest(proof_at->value);
    if (!proof || attributes[0].value != base64_encode(gs2_header_) ||
        attributes[1].value != nonce_)
        return ProxyErrc::protocol_violation;

    const auto without_proof =
        client_final.substr(0, client_final.size() - proof_at->value.size() - sizeof ",p=" + 1);
    const std::string auth_message = join(client_first_bare_, server_first_, without_proof);
    const Digest key = key_behind(*proof, auth_message);
    const bool proven = equal_digests(stored_key(key), verifier_.stored_key);
    const Digest signature = hmac_sha256(as_view(verifier_.server_key), auth_message);
    if (!proven || !known_) return ProxyErrc::authentication_failed;
    client_key_ = key;
    return "v=" + base64_of(signature);
}

Digest ScramServer::key_behind(const Digest& proof, std::string_view auth_message) const {
    return exclusive_or(proof, hmac_sha256(as_view(verifier_.stored_key), auth_message));
}

ScramClient::ScramClient(KeySource source, std::string nonce)
    : source_{std::move(source)}, nonce_{std::move(nonce)} {}

ScramClient ScramClient::with_password(std::string password, std::string nonce) {
    return with_key_source(
        [password = std::move(password)](std::string_view salt, std::uint32_t iterations) {
            return derive_keys(password, salt, iterations);
        },
        std::move(nonce));
}

ScramClient ScramClient::with_key_source(KeySource source, std::string nonce) {
    return {std::move(source), std::move(nonce)};
}

ScramClient ScramClient::with_keys(Fixed fixed, std::string nonce) {
    ScramClient client{nullptr, std::move(nonce)};
    client.fixed_ = std::move(fixed);
    return client;
}

// No user name: PostgreSQL takes the one of the startup packet, and libpq sends none either.
std::string ScramClient::first() {
    client_first_bare_ = "n=,r=" + nonce_;
    return "n,," + client_first_bare_;
}

Result<ScramKeys> ScramClient::keys_for(std::string_view salt, std::uint32_t iterations) const {
    if (!fixed_) return source_(salt, iterations);
    if (salt != fixed_->verifier.salt || iterations != fixed_->verifier.iterations)
        return ProxyErrc::server_login_failed;
    return fixed_->keys;
}

Result<std::string> ScramClient::last(std::string_view server_first) {
    const auto attributes = parse_attributes(server_first);
    if (!begins_with(attributes, "rsi") || attributes.size() != 3)
        return ProxyErrc::server_protocol;
    const std::string_view nonce = attributes[0].value;
    const auto salt = base64_decode(attributes[1].value);
    const auto iterations = parse_iterations(attributes[2].value);
    if (!is_nonce(nonce) || !nonce.starts_with(nonce_) || nonce.size() == nonce_.size())
        return ProxyErrc::server_protocol;
    if (!salt || salt->empty() || !iterations) return ProxyErrc::server_protocol;
    if (*iterations > kMaxServerIterations) return ProxyErrc::server_login_failed;

    const auto keys = keys_for(*salt, *iterations);
    if (!keys) return keys.error();
    keys_ = *keys;
    const std::string without_proof = std::string{"c=biws,r="}.append(nonce);  // base64 of "n,,"
    auth_message_ = join(client_first_bare_, server_first, without_proof);
    const Digest signature = hmac_sha256(as_view(stored_key(keys_.client_key)), auth_message_);
    return without_proof + ",p=" + base64_of(exclusive_or(keys_.client_key, signature));
}

error_code ScramClient::verify(std::string_view server_final) const {
    const auto attributes = parse_attributes(server_final);
    if (auth_message_.empty() || !begins_with(attributes, "v") || attributes.size() != 1)
        return ProxyErrc::server_login_failed;
    const auto signature = decode_digest(attributes[0].value);
    const Digest expected = hmac_sha256(as_view(keys_.server_key), auth_message_);
    if (!signature || !equal_digests(*signature, expected)) return ProxyErrc::server_login_failed;
    return {};
}

}  // namespace pgsteer::proxy::auth
