// The names in a text that only a catalog can judge. A value; part of a Statement.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pgsteer::routing {

struct Use {
    enum class Kind : char {
        function = 'f',
        op = 'o',
        type = 't',
        relation = 'r',
        field = 'c',  // the f of `t.f` or `(x).f`: a column, or a function of one row
    };
    Kind kind{};
    // There is a built-in of that name, and it is harmless. Of a relation: WITH in the same
    // statement has the name.
    bool is_builtin = false;
    std::string_view schema;  // empty: not qualified
    std::string_view name;
    [[nodiscard]] std::string spelled() const {
        return schema.empty() ? std::string{name} : std::string{schema} + "." + std::string{name};
    }
};

// In one buffer, since most statements have a handful of short names and the cache holds many
// statements. Whoever adds keeps doubles out (classify does).
class Uses {
public:
    // The bytes of one use: kind, whether it is built in, schema and name, each ended by a zero.
    static std::string record(const Use& use) {
        std::string bytes{static_cast<char>(use.kind), use.is_builtin ? 'b' : '-'};
        bytes.append(use.schema).push_back('\0');
        bytes.append(use.name).push_back('\0');
        return bytes;
    }
    static std::string as_builtin(std::string record) {
        record[1] = 'b';
        return record;
    }
    static bool is_unknown_function(std::string_view record) {
        return record[0] == static_cast<char>(Use::Kind::function) && record[1] != 'b';
    }
    void add(std::string_view record) { bytes_.append(record); }
    void shrink_to_fit() { bytes_.shrink_to_fit(); }

    // Calls visit(use) until it returns false.
    template <class Visit>
    void for_each(Visit&& visit) const {
        for (std::string_view rest{bytes_}; !rest.empty();) {
            Use use{static_cast<Use::Kind>(rest[0]), rest[1] == 'b', {}, {}};
            rest.remove_prefix(2);
            use.schema = take(rest);
            use.name = take(rest);
            if (!visit(use)) return;
        }
    }
    [[nodiscard]] bool empty() const { return bytes_.empty(); }
    [[nodiscard]] std::size_t heap_bytes() const {
        return bytes_.capacity() < sizeof(std::string) / 2 ? 0 : bytes_.capacity() + 1;
    }
    bool operator==(const Uses&) const = default;

private:
    static std::string_view take(std::string_view& rest) {
        const auto end = rest.find('\0');
        const auto part = rest.substr(0, end);
        rest.remove_prefix(end + 1);
        return part;
    }
    std::string bytes_;
};

}  // namespace pgsteer::routing
