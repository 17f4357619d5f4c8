#include "conf/yaml.hpp"

#include "conf/units.hpp"

#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace pgsteer::conf {
namespace {

Place place_of(const YAML::Mark& mark) {
    if (mark.is_null()) return {1, 1};
    return {mark.line + 1, mark.column + 1};  // yaml-cpp counts from 0
}

// Thrown through yaml-cpp's parser, which has no other way to be stopped.
struct StopParsing : std::runtime_error {
    StopParsing(Place where, const char* why) : std::runtime_error{why}, place{where} {}
    Place place;
};

// Builds our own tree from the parser's events: yaml-cpp's own follows any nesting, has no places
// for keys and aliases, and lets an alias stand inside what it stands for.
class TreeBuilder : public YAML::EventHandler {
public:
    void OnDocumentStart(const YAML::Mark& mark) override {
        if (std::exchange(seen_document_, true))
            throw StopParsing{place_of(mark), "only one YAML document is allowed"};
    }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        add(make_node(YamlNode::Kind::null, mark), anchor);
    }
    void OnScalar(const YAML::Mark& mark,
                  const std::string& /*tag*/,
                  YAML::anchor_t anchor,
                  const std::string& value) override {
        auto node = make_node(YamlNode::Kind::scalar, mark);
        node->text = value;
        add(std::move(node), anchor);
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        const auto target = anchors_.find(anchor);
        if (target == anchors_.end())
            throw StopParsing{place_of(mark), "an alias cannot stand inside what it stands for"};
        auto copy = std::make_shared<YamlNode>(*target->second);
        copy->place = place_of(mark);
        add(std::move(copy), 0);
    }
    void OnSequenceStart(const YAML::Mark& mark,
                         const std::string& /*tag*/,
                         YAML::anchor_t anchor,
                         YAML::EmitterStyle::value /*style*/) override {
        open(make_node(YamlNode::Kind::sequence, mark), anchor);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark,
                    const std::string& /*tag*/,
                    YAML::anchor_t anchor,
                    YAML::EmitterStyle::value /*style*/) override {
        open(make_node(YamlNode::Kind::mapping, mark), anchor);
    }
    void OnMapEnd() override { close(); }

    std::shared_ptr<const YamlNode> root;

private:
    struct Open {
        std::shared_ptr<YamlNode> node;
        YAML::anchor_t anchor;
    };

    static std::shared_ptr<YamlNode> make_node(YamlNode::Kind kind, const YAML::Mark& mark) {
        auto node = std::make_shared<YamlNode>();
        node->kind = kind;
        node->place = place_of(mark);
        return node;
    }

    void open(std::shared_ptr<YamlNode> node, YAML::anchor_t anchor) {
        if (open_.size() == kMaxYamlDepth) throw StopParsing{node->place, "nested too deeply"};
        open_.push_back({std::move(node), anchor});
    }

    void close() {
        Open done = std::move(open_.back());
        open_.pop_back();
        add(std::move(done.node), done.anchor);
    }

    void add(std::shared_ptr<YamlNode> node, YAML::anchor_t anchor) {
        if (anchor != 0) anchors_[anchor] = node;
        if (open_.empty()) {
            root = std::move(node);
            return;
        }
        YamlNode& parent = *open_.back().node;
        parent.size += node->size;
        if (parent.size > kMaxYamlNodes) throw StopParsing{node->place, "too many values"};
        if (node->kind == YamlNode::Kind::null) place_nothing(*node, parent);
        parent.items.push_back(std::move(node));
    }

    // The parser places a value that is not there at whatever comes next: better at its key.
    static void place_nothing(YamlNode& node, const YamlNode& parent) {
        if (parent.items.empty())
            node.place = parent.place;
        else if (parent.kind == YamlNode::Kind::mapping && parent.items.size() % 2 == 1)
            node.place = parent.items.back()->place;
    }

    bool seen_document_ = false;
    std::vector<Open> open_;
    std::unordered_map<YAML::anchor_t, std::shared_ptr<const YamlNode>> anchors_;
};

// Some of the parser's messages in words that tell what to look for.
std::string_view plainly(std::string_view message) {
    constexpr std::pair<std::string_view, std::string_view> kWords[] = {
        {"illegal document indicator in scalar", "a quoted value does not end"},
        {"end of map flow not found", "a '{' is not closed here or earlier"},
        {"end of sequence flow not found", "a '[' is not closed here or earlier"},
        {"end of map not found", "does not fit the indentation of the keys before"},
        {"end of sequence not found", "does not fit the indentation of the list before"},
        {"illegal flow end", "a '}' or ']' too many"},
        {"illegal map value", "a ': ' where no key can be"},
        {"illegal tab when looking for indentation", "a tab in the indentation: use spaces"},
    };
    for (const auto& [theirs, ours] : kWords)
        if (message == theirs) return ours;
    return message;
}

}  // namespace

std::shared_ptr<const YamlNode> empty_mapping(Place place) {
    auto node = std::make_shared<YamlNode>();
    node->kind = YamlNode::Kind::mapping;
    node->place = place;
    return node;
}

ParsedYaml parse_yaml(std::string_view text) {
    if (text.size() > kMaxFileBytes)
        return {nullptr, {}, fmt::format("larger than {}", format_size(kMaxFileBytes))};
    if (const auto nul = text.find('\0'); nul != text.npos) {
        const auto before = text.substr(0, nul);
        const auto line = std::count(before.begin(), before.end(), '\n') + 1;
        return {nullptr, {static_cast<int>(line), 1}, "holds a NUL byte: not a text file in UTF-8"};
    }
    TreeBuilder builder;
    try {
        // With an end marker the parser notices a quote that was never closed.
        std::istringstream stream{std::string{text} + (text.ends_with('\n') ? "" : "\n") + "...\n"};
        YAML::Parser parser{stream};
        while (parser.HandleNextDocument(builder)) {
        }
    } catch (const StopParsing& stop) {
        return {nullptr, stop.place, stop.what()};
    } catch (const YAML::Exception& error) {
        return {nullptr, place_of(error.mark),
                fmt::format("not valid YAML: {}", plainly(error.msg))};
    } catch (const std::exception& error) {
        return {nullptr, {1, 1}, fmt::format("not valid YAML: {}", error.what())};
    }
    if (!builder.root || builder.root->kind == YamlNode::Kind::null)
        return {empty_mapping({1, 1}), {}, {}};
    return {std::move(builder.root), {}, {}};
}

}  // namespace pgsteer::conf
