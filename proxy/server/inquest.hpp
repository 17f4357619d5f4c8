// A server connection has ended without a word: did its server process crash?
#pragma once

#include "proxy/server/server_connection.hpp"
#include "proxy/shared/crashes.hpp"

namespace pgsteer::proxy {

// When a server process crashes, the postmaster ends all others with the WARNING 57P02, and refuses
// logins with 57P03 until it has recovered; only the culprit's connection ends without a word. That
// of a server that is gone altogether does so too, but nobody answers there any more. So the server
// is asked by a login that goes no further than its first answer. Bounded to kInquestTime behind
// `ended_at`; `login`, `config` and `crashes` have to live as long. PostgreSQL docs, "Server
// Shutdown and Restart" and restart_after_crash; seen on 13 to 18.
inline constexpr std::chrono::milliseconds kInquestTime{1'000};
awaitable<bool> has_crashed(Executor executor,
                            const conf::ServerConfig& config,
                            routing::ServerId server,
                            const ServerLogin& login,
                            routing::TimePoint ended_at,
                            Crashes& crashes);

}  // namespace pgsteer::proxy
