// The latest Catalog of one database, for any thread.
#pragma once

#include "routing/catalog.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

namespace pgsteer::health {

// Thread-safe: one publisher, any number of readers. Lives as long as the program.
class CatalogStore {
public:
    CatalogStore(std::string database, std::function<void()> wake)
        : database_{std::move(database)}, wake_{std::move(wake)} {}
    CatalogStore(const CatalogStore&) = delete;

    [[nodiscard]] const std::string& database() const { return database_; }
    // Null: not loaded yet.
    [[nodiscard]] routing::CatalogPtr load() const;
    // Cheap enough for every request: a reader keeps its pointer while the version is unchanged.
    [[nodiscard]] std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
    // The first look has ended, well or not.
    [[nodiscard]] bool is_tried() const { return is_tried_.load(std::memory_order_acquire); }

    // Something may have changed: asks for a look that begins after this call. has_looked() says
    // whether it has ended well.
    std::uint64_t ask();
    [[nodiscard]] bool has_looked(std::uint64_t asked) const {
        return looked_.load(std::memory_order_acquire) >= asked;
    }
    // The same for what may happen with every request, and without an answer: a second may pass.
    void ask_some_time();
    // The same for a name that the catalog does not have: at once if it is asked about for the
    // first time since the catalog has changed.
    void ask_about(std::string_view name);

    // --- for Catalogs ---
    [[nodiscard]] std::uint64_t asked() const { return asked_.load(std::memory_order_acquire); }
    [[nodiscard]] bool is_wanted() const { return is_wanted_.load(std::memory_order_acquire); }
    void begins() { is_wanted_.store(false, std::memory_order_release); }  // a look
    void publish(routing::CatalogPtr next);
    void looked(std::uint64_t asked) { looked_.store(asked, std::memory_order_release); }
    void tried() { is_tried_.store(true, std::memory_order_release); }

private:
    const std::string database_;
    const std::function<void()> wake_;
    // Held for a pointer copy, and only when the version has changed; and for names_.
    mutable std::mutex mutex_;
    routing::CatalogPtr current_;
    static constexpr std::size_t kMaxNames = 256;
    std::set<std::size_t> names_;  // hashes of those that were asked about
    std::atomic<std::uint64_t> version_{0};
    std::atomic<std::uint64_t> asked_{0};
    std::atomic<std::uint64_t> looked_{0};
    std::atomic<bool> is_tried_{false};
    std::atomic<bool> is_wanted_{false};  // by ask_some_time()
};

}  // namespace pgsteer::health
