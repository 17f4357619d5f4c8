// What a function leaves in the server process that ran it, beyond its transaction. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pgsteer::routing {

struct Kept {
    // From what matters least to what matters most.
    enum class What : std::uint8_t {
        nothing,
        names,       // of custom settings: known there for good, but without a value
        resettable,  // a setting: until RESET ALL
        settings,    // settings that nobody has told us of, maybe the role: until DISCARD ALL
        state,       // what neither undoes: until the connection is closed
    };
    What what = What::nothing;
    std::string by;  // the function, or the table behind whose writes it is called

    // No other session may be given the connection, since DISCARD ALL is not enough.
    [[nodiscard]] bool outlives_discard_all() const {
        return what != What::nothing && what != What::resettable;
    }
};

// The reviewed list of members of extensions that keep something, whatever they are declared.
// Nothing: all others.
Kept::What kept_by_member(std::string_view extension, std::string_view function);

// The same where it is not known what the function is a member of: the most that one of the name
// keeps.
Kept::What kept_by_name(std::string_view function);

// What a FunctionCall message may leave that names a function by its OID: nothing if it is one of
// the large objects' own, which libpq calls so; of others it is not asked what they are.
Kept kept_by_call(std::uint32_t oid);

}  // namespace pgsteer::routing
