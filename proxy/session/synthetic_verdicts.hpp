// Verdicts on what is not SQL text, or not known.
#pragma once

#include "routing/statement_cache.hpp"

namespace pgsteer::proxy {

// Shared by all sessions, never changed.
struct SyntheticVerdicts {
    SyntheticVerdicts();
    routing::StatementPtr neutral;  // asks for nothing: Sync, Close, Describe of a portal
    routing::StatementPtr unclassified_encoding;
    routing::StatementPtr too_complex;
    routing::StatementPtr mixed;
    routing::StatementPtr unknown_statement;
    routing::StatementPtr unknown_portal;
    routing::StatementPtr beside_cursors;  // a name that one of them may have: runs where they are
    routing::StatementPtr function_call;
    routing::StatementPtr too_large;
};
const SyntheticVerdicts& synthetic_verdicts();

}  // namespace pgsteer::proxy
