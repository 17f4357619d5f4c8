#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

// An entry may include itself and those before it.
constexpr std::array<std::string_view, 4> kFolders{"conf", "routing", "health", "proxy"};

std::vector<fs::path> sources_of(std::string_view folder) {
    std::vector<fs::path> sources;
    for (const auto& entry : fs::recursive_directory_iterator{fs::path{SOURCE_DIR} / folder}) {
        const auto extension = entry.path().extension();
        if (extension == ".hpp" || extension == ".cpp") sources.push_back(entry.path());
    }
    return sources;
}

// The first folder of an #include "..." line; "" for any other line.
std::string included_folder(const std::string& line) {
    constexpr std::string_view kInclude = "#include \"";
    if (line.compare(0, kInclude.size(), kInclude) != 0) return {};
    const auto path = line.substr(kInclude.size());
    return path.substr(0, path.find_first_of("/\""));
}

TEST(IncludeDirection, FoldersIncludeOnlyThoseBelowThem) {
    for (std::size_t level = 0; level < kFolders.size(); ++level) {
        const auto sources = sources_of(kFolders[level]);
        EXPECT_FALSE(sources.empty()) << kFolders[level];
        for (const auto& source : sources) {
            std::ifstream in{source};
            std::string line;
            for (int number = 1; std::getline(in, line); ++number) {
                const auto folder = included_folder(line);
                if (folder.empty()) continue;
                const auto* const end = kFolders.begin() + level + 1;
                EXPECT_NE(std::find(kFolders.begin(), end, folder), end)
                    << source.string() << ':' << number << ": " << line;
            }
        }
    }
}

TEST(IncludeDirection, ReadsTheFolderOfAnInclude) {
    EXPECT_EQ(included_folder("#include \"proxy/wire/bytes.hpp\""), "proxy");
    EXPECT_EQ(included_folder("#include \"bytes.hpp\""), "bytes.hpp");
    EXPECT_EQ(included_folder("#include <vector>"), "");
    EXPECT_EQ(included_folder("// #include \"proxy/app.hpp\""), "");
}

}  // namespace
