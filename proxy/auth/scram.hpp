// SCRAM-SHA-256 (RFC 5802, RFC 7677) for both ends, without sockets. OpenSSL's primitives.
#pragma once

#include "proxy/auth/digest.hpp"
#include "proxy/errors.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace pgsteer::proxy::auth {

inline constexpr std::string_view kScramSha256 = "SCRAM-SHA-256";  // the mechanism's name
inline constexpr std::size_t kMaxScramMessageBytes = 1024;         // PG_MAX_SASL_MESSAGE_LENGTH

// What a server keeps of a password, as in pg_authid.rolpassword.
struct ScramVerifier {
    std::uint32_t iterations = 4096;
    std::string salt;  // raw bytes
    Digest stored_key{};
    Digest server_key{};
};
// "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>", salt and keys in base64.
std::optional<ScramVerifier> parse_verifier(std::string_view text);
std::string to_string(const ScramVerifier& verifier);

// The two keys from which a client proves itself. Derived from a password (slow: PBKDF2), or learnt
// when a client logged in against a verifier (then server_key is the verifier's).
struct ScramKeys {
    Digest client_key{};
    Digest server_key{};
};
// saslprep() is applied to the password first.
ScramKeys derive_keys(std::string_view password, std::string_view salt, std::uint32_t iterations);
ScramVerifier make_verifier(std::string_view password,
                            std::string_view salt,
                            std::uint32_t iterations);
Digest stored_key(const Digest& client_key);

// The server's side of one exchange. For an unknown user pass a mock verifier (mock_verifier): it
// costs the same time and always fails at the end.
class ScramServer {
public:
    // `nonce`: our own part, printable ASCII without comma.
    ScramServer(ScramVerifier verifier, bool user_is_known, std::string nonce);
    // client-first-message -> server-first-message. Errors: protocol_violation.
    Result<std::string> first(std::string_view client_first);
    // client-final-message -> server-final-message. Errors: protocol_violation,
    // authentication_failed.
    Result<std::string> last(std::string_view client_final);
    // After last() has succeeded: the client's key, which proves us to any server with the same
    // verifier.
    [[nodiscard]] const Digest& client_key() const { return client_key_; }

private:
    [[nodiscard]] Digest key_behind(const Digest& proof, std::string_view auth_message) const;

    ScramVerifier verifier_;
    bool known_;
    std::string nonce_;  // ours; with the client's in front after first()
    std::string client_first_bare_, server_first_, gs2_header_;
    Digest client_key_{};
};
// The same salt for the same user name each time, as PostgreSQL does, from a secret of this
// process.
ScramVerifier mock_verifier(std::string_view user, const Digest& secret);

// The client's side, towards a server.
class ScramClient {
public:
    // Keys that only fit the verifier they were learnt from.
    struct Fixed {
        ScramVerifier verifier;
        ScramKeys keys;
    };
    // Called once salt and iterations are known, e.g. Credentials::keys_for, which remembers.
    using KeySource = std::function<ScramKeys(std::string_view salt, std::uint32_t iterations)>;

    static ScramClient with_password(std::string password, std::string nonce);
    static ScramClient with_key_source(KeySource source, std::string nonce);
    static ScramClient with_keys(Fixed fixed, std::string nonce);
    std::string first();
    // server-first -> client-final. Errors: server_protocol; server_login_failed (salt or
    // iterations are not those of the fixed keys; iterations above 1'000'000).
    Result<std::string> last(std::string_view server_first);
    // Errors: server_login_failed if the server cannot prove that it knows the verifier.
    [[nodiscard]] error_code verify(std::string_view server_final) const;

private:
    ScramClient(KeySource source, std::string nonce);
    [[nodiscard]] Result<ScramKeys> keys_for(std::string_view salt, std::uint32_t iterations) const;

    KeySource source_;  // empty: fixed_
    std::optional<Fixed> fixed_;
    std::string nonce_, client_first_bare_, auth_message_;
    ScramKeys keys_{};
};

std::string random_nonce();  // 18 random bytes in base64

}  // namespace pgsteer::proxy::auth
