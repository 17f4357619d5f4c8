// The columns of a statement's result, as a client was told them. PostgreSQL fixes them at Parse: a
// statement whose result has become another one is not executed (0A000). What we prepare once more,
// on another connection, has those of that time, and may be executed only where they are the same.
// Pure.
#pragma once

#include "proxy/wire/bytes.hpp"
#include "routing/session_settings.hpp"

#include <array>
#include <cstdint>

namespace pgsteer::proxy {

// Of a RowDescription or NoData: what PostgreSQL compares, names, types and their modifiers. Never
// 0, but where the message is no such one, or has not come whole.
[[nodiscard]] std::uint64_t digest_of_columns(std::uint8_t type, wire::Bytes body);

// Of one prepared statement of a client.
class Columns {
public:
    // A connection as it counts here: by the session's number of it (Side::number), from 1.
    struct On {
        routing::Slot slot{};
        std::uint32_t number = 0;
    };
    enum class Fit : std::uint8_t { unknown, same, others };

    // The client was told them by that connection: the first time counts.
    void told(const On& on, std::uint64_t digest);
    [[nodiscard]] bool were_told() const { return digest_ != 0; }
    // It is prepared there by us. `changes`: SessionCatalog::changes().
    void copied(const On& on, std::uint32_t changes);
    // A copy has these.
    void found(const On& on, std::uint64_t digest);
    // What is known of those that it has there, beside those that the client was told.
    [[nodiscard]] Fit fit(const On& on) const {
        const auto& place = places_[static_cast<std::size_t>(on.slot)];
        return place.number == on.number ? place.fit : Fit::unknown;
    }
    // The client was told them, and it is not known whether they are the same there.
    [[nodiscard]] bool are_doubtful(const On& on) const {
        return were_told() && fit(on) != Fit::same;
    }
    // It is a copy from before something has changed, of which the client knows nothing: as it
    // would be prepared now it may be what the client's own is again.
    [[nodiscard]] bool are_old(const On& on, std::uint32_t changes) const {
        const auto& place = places_[static_cast<std::size_t>(on.slot)];
        return !were_told() && place.number == on.number && place.is_copy &&
               place.changes != changes;
    }

private:
    struct Place {
        std::uint32_t number = 0;
        std::uint32_t changes = 0;
        Fit fit = Fit::unknown;
        bool is_copy = false;
    };
    [[nodiscard]] Place& place(const On& on);

    std::uint64_t digest_ = 0;
    std::array<Place, 2> places_;
};

}  // namespace pgsteer::proxy
