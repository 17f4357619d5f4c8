// Everything that has to be known of a batch before it is decided where it runs, found in one pass
// over it. Pure.
#pragma once

#include "proxy/session/batch.hpp"
#include "proxy/session/client_statements.hpp"
#include "proxy/session/portals.hpp"

#include <array>
#include <cstdint>
#include <memory>

namespace pgsteer::proxy {

// Reads are judged by the session's catalog.
struct CatalogJudge {
    std::uint64_t context;  // SessionCatalog::number
    const routing::CatalogView& view;
    routing::JudgedStatements& shared;
};

// What the session knows. All of it outlives the call only.
struct FactsContext {
    const ClientStatements& statements;
    const Portals& portals;
    CatalogJudge judge;
    bool can_classify = true;  // false: what was not classified was not because of the encoding
    bool has_cursors = false;  // holdable ones are open
    std::size_t max_read_bytes = 0;  // a larger read is not kept for a retry, and goes to the
                                     // primary
    std::array<std::uint32_t, 2> connections = {};  // by slot: Columns::On::number
};

struct BatchFacts {
    // Decides where the batch runs: the first that needs the primary, if there is one. Session
    // control beside reads needs it too: both connections would have to take part. Never null.
    routing::StatementPtr statement;
    // The one that the batch runs to its end, and nothing else: a simple Query, or Bind and Execute
    // of one portal, with or without Parse and Describe, up to Sync. Not judged. Null: there is
    // more in the batch, or less.
    routing::StatementPtr only;
    // The one execution in it, in a simple Query or by Execute, whatever stands around; not judged.
    // Null: there are several, or it is not known what runs, or none: then the batch ends something
    // that was sent before, a COPY FROM STDIN perhaps.
    routing::StatementPtr executed;
    bool ends = false;             // as Batch::ends
    bool names_uncertain = false;  // it uses a name of which no server has said whether it is there
    bool changes_names = false;    // what names mean to those behind it may be different: of
                                   // relations, functions, cursors
    bool sets_options = false;     // SET pgsteer.* is in it
    bool ties = false;             // a statement in it does (InTransaction::ties)
    bool may_commit = false;
    // A portal in it may be used by later requests of the same transaction: one with a name, one
    // that is not executed yet, or not to its end.
    bool leaves_portal = false;
    std::array<bool, 2> doubtful_on = {};  // by slot: it uses a statement whose columns are
    // It uses the unnamed statement of an earlier one, of whose columns the client was told: a
    // Query in front of it would destroy that.
    bool uses_told_unnamed = false;
    std::shared_ptr<const routing::Kept> kept;  // by functions of the database's own
};

// `bytes`: of the batch, as much as has arrived.
[[nodiscard]] BatchFacts facts_of(const Batch& batch,
                                  wire::Bytes bytes,
                                  const FactsContext& context);

// Nothing in the batch declares or supplies parameters: a statement that has none of its own is not
// refused for them. For a batch of facts_of().only: a handful of messages.
[[nodiscard]] bool has_no_parameters(const Batch& batch,
                                     wire::Bytes bytes,
                                     const ClientStatements& statements);

// What EXECUTE runs, where that is known; any other statement is that itself.
[[nodiscard]] const routing::StatementPtr& what_runs(const routing::StatementPtr& statement,
                                                     const ClientStatements& statements);

}  // namespace pgsteer::proxy
