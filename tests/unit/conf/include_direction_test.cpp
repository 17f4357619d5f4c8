#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;

struct Floor {
    std::string_view prefix;  // of the paths of its files
    int height;
};

// A file may include those of its own floor and of the floors below. The longest prefix counts.
constexpr std::array kFloors{
    Floor{"conf/", 0},           Floor{"routing/", 1},
    Floor{"health/", 2},         Floor{"proxy/errors.", 3},
    Floor{"proxy/wire/", 4},     Floor{"proxy/auth/", 5},
    Floor{"proxy/io/", 6},       Floor{"proxy/shared/", 7},
    Floor{"proxy/server/", 8},   Floor{"proxy/pool/", 9},
    Floor{"proxy/login/", 9},    Floor{"proxy/login/user_source.", 6},  // whom a generation knows
    Floor{"proxy/session/", 10}, Floor{"proxy/worker.", 11},
    Floor{"proxy/", 12},
};
constexpr std::array<std::string_view, 4> kFolders{"conf", "routing", "health", "proxy"};

// -1: on none.
int height_of(std::string_view path) {
    const Floor* found = nullptr;
    for (const auto& floor : kFloors)
        if (path.substr(0, floor.prefix.size()) == floor.prefix &&
            (found == nullptr || floor.prefix.size() > found->prefix.size()))
            found = &floor;
    return found == nullptr ? -1 : found->height;
}

// Paths from the top.
std::vector<std::string> sources_of(std::string_view folder) {
    std::vector<std::string> sources;
    for (const auto& entry : fs::recursive_directory_iterator{fs::path{SOURCE_DIR} / folder}) {
        const auto extension = entry.path().extension();
        if (extension == ".hpp" || extension == ".cpp")
            sources.push_back(fs::relative(entry.path(), SOURCE_DIR).string());
    }
    return sources;
}

// The path of an #include "..." line; "" for any other line.
std::string_view included_path(std::string_view line) {
    constexpr std::string_view kInclude = "#include \"";
    if (line.substr(0, kInclude.size()) != kInclude) return {};
    const auto path = line.substr(kInclude.size());
    return path.substr(0, path.find('"'));
}

TEST(IncludeDirection, FilesIncludeOnlyWhatIsNotAboveThem) {
    for (const auto folder : kFolders) {
        const auto sources = sources_of(folder);
        EXPECT_FALSE(sources.empty()) << folder;
        for (const auto& source : sources) {
            const int height = height_of(source);
            EXPECT_GE(height, 0) << source;
            std::ifstream in{fs::path{SOURCE_DIR} / source};
            std::string line;
            for (int number = 1; std::getline(in, line); ++number) {
                const auto path = included_path(line);
                if (path.empty() || path.find('/') == std::string_view::npos) continue;
                EXPECT_GE(height_of(path), 0) << source << ':' << number << ": " << line;
                EXPECT_LE(height_of(path), height) << source << ':' << number << ": " << line;
            }
        }
    }
}

TEST(IncludeDirection, KnowsTheFloorOfAFile) {
    EXPECT_EQ(height_of("conf/config.hpp"), 0);
    EXPECT_EQ(height_of("proxy/wire/bytes.hpp"), 4);
    EXPECT_GT(height_of("proxy/worker.hpp"), height_of("proxy/session/client_session.hpp"));
    EXPECT_LT(height_of("proxy/login/user_source.hpp"), height_of("proxy/shared/generation.hpp"));
    EXPECT_GT(height_of("proxy/app.cpp"), height_of("proxy/worker.hpp"));
    EXPECT_EQ(height_of("tests/bytes.hpp"), -1);
}

TEST(IncludeDirection, ReadsThePathOfAnInclude) {
    EXPECT_EQ(included_path("#include \"proxy/wire/bytes.hpp\""), "proxy/wire/bytes.hpp");
    EXPECT_EQ(included_path("#include \"bytes.hpp\""), "bytes.hpp");
    EXPECT_EQ(included_path("#include <vector>"), "");
    EXPECT_EQ(included_path("// #include \"proxy/app.hpp\""), "");
}

}  // namespace
