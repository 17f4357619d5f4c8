// What of a session outlives its requests: what the client has said that counts later, and what was
// learnt for it.
#pragma once

#include "proxy/session/catalog_view.hpp"
#include "proxy/session/client_statements.hpp"
#include "proxy/session/freshness.hpp"
#include "proxy/session/portals.hpp"
#include "proxy/session/transaction.hpp"
#include "routing/session_state.hpp"

namespace pgsteer::proxy {

// Each keeps its own rules; told by what servers answer (Answers, Effects), and by what is sent
// (Sender). Needs no socket. Worker-local.
struct Memory {
    routing::SessionState state;     // settings, savepoints, pins
    Transaction transaction{state};  // begun here, opened there
    Freshness freshness;             // what no read may miss
    SessionCatalog catalog;          // what statements are judged by
    ClientStatements statements;
    Portals portals;
    wire::Buffer at_commit_error;  // of what KeptBack has the primary do
};

}  // namespace pgsteer::proxy
