#pragma once

#include "proxy/session/batch.hpp"
#include "proxy/session/prepared_statements.hpp"

namespace pgsteer::proxy {

// Verdicts on what is not SQL text, or not known; shared by all sessions, never changed.
struct SyntheticVerdicts {
    SyntheticVerdicts();
    routing::StatementPtr neutral;  // asks for nothing: Sync, Close, Describe of a portal
    routing::StatementPtr unclassified_encoding;
    routing::StatementPtr too_complex;
    routing::StatementPtr mixed;
    routing::StatementPtr unknown_statement;
    routing::StatementPtr unknown_portal;
    routing::StatementPtr function_call;
    routing::StatementPtr too_large;
};
const SyntheticVerdicts& synthetic_verdicts();

// Portals that are bound and may still be executed, with the statement they run; null: not known.
using Portals = std::vector<std::pair<std::string, routing::StatementPtr>>;
[[nodiscard]] Portals::iterator find_portal(Portals& portals, std::string_view name);
[[nodiscard]] Portals::const_iterator find_portal(const Portals& portals, std::string_view name);

// The last Parse in the batch, before `user`, of the statement that `user` names; null if there is
// none.
const BatchItem* parse_before(const Batch& batch, wire::Bytes bytes, const BatchItem& user);

// Judges reads by the session's catalog.
struct CatalogJudge {
    std::uint64_t context;  // SessionCatalog::number
    const routing::CatalogView& view;
    routing::JudgedStatements& shared;
    // A statement in the batch may change what names mean to those behind it.
    bool changes_names = false;
    bool ties = false;  // a statement in it does (InTransaction::ties)
    bool may_commit = false;
    std::shared_ptr<const routing::Kept> kept = nullptr;  // by functions of the database's own
};

struct VerdictContext {
    const PreparedStatements& prepared;
    const Portals& portals;
    bool can_classify;           // false: what was not classified was not because of the encoding
    std::size_t max_read_bytes;  // a larger read is not kept for a retry, and goes to the primary
    CatalogJudge* judge = nullptr;    // null: statements are what they are without a catalog
    bool* names_uncertain = nullptr;  // is set if the batch uses a name of which no server has said
                                      // yet whether it is there
};

// The one statement that a batch runs to its end: a simple Query, or Bind and Execute of one
// portal, with or without Parse and Describe, up to Sync. Null: there is more in it, or less.
[[nodiscard]] routing::StatementPtr only_statement(const Batch& batch,
                                                   wire::Bytes bytes,
                                                   const PreparedStatements& prepared);

// Nothing in it declares or supplies parameters: a statement that has none of its own is not
// refused for them.
[[nodiscard]] bool has_no_parameters(const Batch& batch,
                                     wire::Bytes bytes,
                                     const PreparedStatements& prepared);

// A portal in it may be used by later requests of the same transaction: one with a name, one that
// is not executed yet, or not to its end.
[[nodiscard]] bool leaves_portal(const Batch& batch, wire::Bytes bytes);

// What EXECUTE runs, where that is known; any other statement is that itself.
[[nodiscard]] const routing::StatementPtr& what_runs(const routing::StatementPtr& statement,
                                                     const PreparedStatements& prepared);

// The statement that decides where a batch runs: the first that needs the primary, if there is one.
// Session control beside reads needs it too: both connections would have to take part. Pure.
routing::StatementPtr strictest(const Batch& batch,
                                wire::Bytes bytes,
                                const VerdictContext& context);

}  // namespace pgsteer::proxy
