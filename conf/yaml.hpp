// YAML text -> a tree of nodes that know their places. The only user of yaml-cpp.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::conf {

inline constexpr std::size_t kMaxFileBytes = 1024 * 1024;
inline constexpr int kMaxYamlDepth = 32;
inline constexpr std::size_t kMaxYamlNodes = 200'000;  // aliases counted with all they stand for

struct Place {
    int line = 0;  // both from 1; 0: no place in the text
    int column = 0;
    auto operator<=>(const Place&) const = default;
};

// A parsed YAML value. Scalars keep their text: the reader of a key knows the type, YAML does not.
struct YamlNode {
    enum class Kind : std::uint8_t { null, scalar, sequence, mapping };
    Kind kind = Kind::null;
    Place place;
    std::string text;                                    // of a scalar
    std::vector<std::shared_ptr<const YamlNode>> items;  // of a mapping: key, value, key, value...
    std::size_t size = 1;                                // nodes in it, itself included
};

struct ParsedYaml {
    std::shared_ptr<const YamlNode> root;  // nullptr: see error
    Place place;                           // of the error
    std::string error;
};

// A mapping without keys, for a section that is not given.
[[nodiscard]] std::shared_ptr<const YamlNode> empty_mapping(Place place);

// One document; an empty text is an empty mapping. Bounded in depth and nodes, so hostile text
// costs neither stack nor memory beyond a small multiple of its length.
[[nodiscard]] ParsedYaml parse_yaml(std::string_view text);

}  // namespace pgsteer::conf
