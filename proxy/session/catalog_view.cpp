// Which catalog a session's statements are judged by, and what makes it look again.
#include "proxy/session/catalog_view.hpp"

namespace pgsteer::proxy {

void SessionCatalog::start(std::shared_ptr<health::CatalogStore> store,
                           std::string role,
                           std::optional<std::string> search_path,
                           bool changes_role) {
    store_ = std::move(store);
    role_ = std::move(role);
    startup_search_path_ = std::move(search_path);
    changes_role_ = changes_role;
}

void SessionCatalog::transaction_ended() {
    if (change_ != routing::CatalogChange::none) ++changes_;
    if (change_ == routing::CatalogChange::certain) asked_ = store_->ask();
    if (change_ == routing::CatalogChange::possible) store_->ask_some_time();
    change_ = routing::CatalogChange::none;
}

void SessionCatalog::rebuild(const routing::SessionState::SearchPathSetting& setting,
                             bool is_hidden,
                             std::uint64_t version) {
    using Kind = routing::SessionState::SearchPathSetting::Kind;
    ++changes_;
    if (version != version_) catalog_ = store_->load();
    version_ = version;
    setting_ = setting;
    is_hidden_ = is_hidden;
    view_ = {};
    default_modes_ = {};
    if (is_hidden || !catalog_) return;
    view_.catalog = catalog_.get();
    const auto defaults = catalog_->defaults_of(role_);
    view_.may_be_serializable = defaults.may_be_serializable;
    default_modes_ = defaults.modes;
    const auto& usual = startup_search_path_ ? startup_search_path_ : defaults.search_path;
    const bool is_other = setting.role_changed || changes_role_ || defaults.changes_role;
    const std::string role = is_other ? std::string{} : role_;
    if (setting.kind == Kind::value)
        view_.search_path = routing::parse_search_path(setting.value, role);
    if (setting.kind == Kind::session_default && usual)
        view_.search_path = routing::parse_search_path(*usual, role);
}

}  // namespace pgsteer::proxy
