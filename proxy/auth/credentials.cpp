#include "proxy/auth/credentials.hpp"

#include <algorithm>

namespace pgsteer::proxy::auth {
namespace {

constexpr std::size_t kMaxDerived = 1024;

// One for the process, so that a reload changes no salts: a salt that changes for some names and
// not for others would tell which users exist.
const Digest& process_secret() {
    static const Digest secret = [] {
        const std::string bytes = random_bytes(Digest{}.size());
        Digest digest{};
        std::copy(bytes.begin(), bytes.end(), digest.begin());
        return digest;
    }();
    return secret;
}

// conf has checked the text; an unreadable one becomes a verifier that no password satisfies.
ScramVerifier verifier_of(const conf::AuthUser& user, const Digest& secret) {
    ScramVerifier mock = mock_verifier(user.name, secret);
    if (!user.verifier.empty()) return parse_verifier(user.verifier.reveal()).value_or(mock);
    if (user.password.empty()) return mock;
    return make_verifier(user.password.reveal(), mock.salt, mock.iterations);
}

}  // namespace

Credentials::Credentials(const conf::AuthConfig& config) : secret_{process_secret()} {
    for (const conf::AuthUser& user : config.users)
        users_[user.name] = {user.password.reveal(), verifier_of(user, secret_)};
}

Credentials::User Credentials::find(std::string_view user) const {
    // Made for known users too, for equal time.
    User found{.known = false, .password = {}, .verifier = mock_verifier(user, secret_)};
    const auto entry = users_.find(std::string{user});
    if (entry != users_.end())
        found = {
            .known = true, .password = entry->second.password, .verifier = entry->second.verifier};
    return found;
}

void Credentials::learn(std::string_view user, const ScramKeys& keys) {
    const std::string name{user};
    if (!users_.contains(name)) return;
    const std::lock_guard lock{mutex_};
    learnt_.insert_or_assign(name, keys);
}

std::optional<ScramKeys> Credentials::learnt(std::string_view user) const {
    const std::lock_guard lock{mutex_};
    const auto entry = learnt_.find(std::string{user});
    if (entry == learnt_.end()) return std::nullopt;
    return entry->second;
}

void Credentials::inherit(const Credentials& previous) {
    if (&previous == this) return;
    const std::scoped_lock lock{mutex_, previous.mutex_};
    for (const auto& [name, keys] : previous.learnt_) {
        const auto entry = users_.find(name);
        if (entry == users_.end()) continue;
        const ScramVerifier& verifier = entry->second.verifier;
        if (stored_key(keys.client_key) == verifier.stored_key &&
            keys.server_key == verifier.server_key)
            learnt_.emplace(name, keys);
    }
}

ScramKeys Credentials::keys_for(std::string_view password,
                                std::string_view salt,
                                std::uint32_t iterations) {
    // A keyed hash, so that the map holds no further copies of passwords. The salt's length comes
    // first: no other split of the same bytes gives the same key.
    const Digest id = hmac_sha256(as_view(secret_), std::to_string(iterations) + ":" +
                                                        std::to_string(salt.size()) + ":" +
                                                        std::string{salt} + std::string{password});
    const std::string key{as_view(id)};
    {
        const std::lock_guard lock{mutex_};
        const auto entry = derived_.find(key);
        if (entry != derived_.end()) return entry->second;
    }
    const ScramKeys keys = derive_keys(password, salt, iterations);  // slow, so without the lock
    const std::lock_guard lock{mutex_};
    if (derived_.size() >= kMaxDerived) derived_.erase(derived_.begin());
    derived_.insert_or_assign(key, keys);
    return keys;
}

}  // namespace pgsteer::proxy::auth
