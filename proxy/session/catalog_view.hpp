#pragma once

#include "health/catalog_store.hpp"
#include "routing/session_state.hpp"
#include "routing/statement_cache.hpp"

#include <memory>
#include <string>

namespace pgsteer::proxy {

// What a session's statements are judged by: the catalog of its database as its search_path shows
// it. Worker-local.
class SessionCatalog {
public:
    // At login. `search_path`: as the startup packet says; nullopt: it does not.
    void start(std::shared_ptr<health::CatalogStore> store,
               std::string role,
               std::optional<std::string> search_path,
               bool changes_role);
    [[nodiscard]] bool is_tried() const { return store_->is_tried(); }

    // To be called before statements are judged. `number` gives equal views the same number
    // (Worker). `unsure`: requests in flight may change what names mean.
    template <class Number>
    void update(const routing::SessionState::SearchPathSetting& setting,
                bool unsure,
                Number&& number) {
        const bool is_hidden = unsure || (asked_ > 0 && !store_->has_looked(asked_));
        const auto version = store_->version();
        if (number_ != 0 && version == version_ && setting == setting_ && is_hidden == is_hidden_)
            return;
        rebuild(setting, is_hidden, version);
        number_ = number(view_);
    }
    [[nodiscard]] std::uint64_t number() const { return number_; }
    [[nodiscard]] const routing::CatalogView& view() const { return view_; }
    // Counts what may have changed the meaning of statements, as far as it is known.
    [[nodiscard]] std::uint32_t changes() const { return changes_; }
    // Of transactions about which nothing is said; nullopt: not known.
    [[nodiscard]] const routing::TransactionModes& default_modes() const { return default_modes_; }

    // A statement completed that may have changed the catalog, in a transaction that may be open
    // still.
    void may_have_changed(routing::CatalogChange change) { change_ = std::max(change_, change); }
    // The transaction has ended. After DDL of its own the session has no catalog until it was
    // looked at again: it knows what it has changed.
    void transaction_ended();
    // A replica could not do what the catalog allowed.
    void was_wrong() {
        store_->ask_some_time();
        ++changes_;
    }
    // A Bind has failed: what it has bound may be older than some DDL that nobody has seen.
    void bind_failed() { ++changes_; }
    void does_not_know(std::string_view name) { store_->ask_about(name); }

private:
    void rebuild(const routing::SessionState::SearchPathSetting& setting,
                 bool is_hidden,
                 std::uint64_t version);

    std::shared_ptr<health::CatalogStore> store_;
    std::string role_;
    std::optional<std::string> startup_search_path_;
    bool changes_role_ = false;  // the startup packet does
    routing::CatalogPtr catalog_;
    routing::CatalogView view_;
    routing::TransactionModes default_modes_;
    routing::SessionState::SearchPathSetting setting_;
    std::uint64_t version_ = 0;
    std::uint64_t number_ = 0;  // of `view_`; 0: none yet
    std::uint32_t changes_ = 0;
    std::uint64_t asked_ = 0;  // after DDL of this session's own; 0: none
    routing::CatalogChange change_ = routing::CatalogChange::none;
    bool is_hidden_ = false;
};

}  // namespace pgsteer::proxy
