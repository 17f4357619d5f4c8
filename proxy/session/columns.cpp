#include "proxy/session/columns.hpp"

#include "proxy/wire/body_reader.hpp"
#include "proxy/wire/message_types.hpp"

#include <string_view>

namespace pgsteer::proxy {

namespace {

constexpr std::uint64_t kNone = 1;  // NoData

class Digest {
public:
    void add(std::string_view text) {
        for (const char letter : text) add_byte(static_cast<std::uint8_t>(letter));
        add_byte(0);
    }
    void add(std::uint32_t number) {
        for (int shift = 0; shift < 32; shift += 8)
            add_byte(static_cast<std::uint8_t>(number >> shift));
    }
    [[nodiscard]] std::uint64_t value() const { return value_ <= kNone ? kNone + 1 : value_; }

private:
    void add_byte(std::uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001b3U; }  // FNV-1a
    std::uint64_t value_ = 0xcbf29ce484222325U;
};

}  // namespace

std::uint64_t digest_of_columns(std::uint8_t type, wire::Bytes body) {
    if (type == wire::backend::kNoData) return kNone;
    if (type != wire::backend::kRowDescription) return 0;
    wire::BodyReader reader{body};
    Digest digest;
    const auto count = reader.u16();
    digest.add(count);
    for (std::uint16_t i = 0; i < count; ++i) {
        digest.add(reader.cstr());
        reader.bytes(6);  // where the column comes from
        digest.add(reader.u32());
        reader.u16();  // the type's size
        digest.add(reader.u32());
        reader.u16();  // format
    }
    return reader.finish() ? 0 : digest.value();
}

Columns::Place& Columns::place(const On& on) {
    auto& place = places_[static_cast<std::size_t>(on.slot)];
    if (place.number != on.number) place = {.number = on.number};
    return place;
}

void Columns::told(const On& on, std::uint64_t digest) {
    if (digest == 0) return;
    if (!were_told()) digest_ = digest;
    found(on, digest);
}

void Columns::copied(const On& on, std::uint32_t changes) {
    auto& place = this->place(on);
    place.changes = changes;
    place.fit = Fit::unknown;
    place.is_copy = true;
}

// Whether a utility statement has a result may depend on what there is on its connection: of a
// cursor, say. PostgreSQL does not ask again.
void Columns::found(const On& on, std::uint64_t digest) {
    if (digest == 0) return;
    const bool is_same = digest == digest_ || digest == kNone || digest_ == kNone;
    place(on).fit = is_same ? Fit::same : Fit::others;
}

}  // namespace pgsteer::proxy
