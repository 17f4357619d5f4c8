// Both sides of SCRAM against any bytes. The first byte selects the side; the rest is one message,
// or two with a line feed between them. Nobody may get in: no input holds a proof for the fixed
// nonces.
#include "proxy/auth/saslprep.hpp"
#include "proxy/auth/scram.hpp"

#include <cstdlib>

using namespace pgsteer::proxy::auth;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

const ScramVerifier& verifier() {
    static const ScramVerifier made = make_verifier("fuzz", "salt", 1);
    return made;
}

void attack_server(std::string_view first, std::string_view last) {
    ScramServer server{verifier(), true, "server"};
    const auto challenge = server.first(first);
    if (challenge) require(challenge->starts_with("r=") && challenge->ends_with(",i=1"));
    require(!server.last(last));
    require(server.client_key() == Digest{});
}

// As above, but the nonce and the form of the final message are right: only the proof is the input.
void attack_proof(std::string_view proof) {
    ScramServer server{verifier(), true, "server"};
    require(static_cast<bool>(server.first("n,,n=,r=client")));
    require(!server.last("c=biws,r=clientserver,p=" + base64_encode(proof)));
    require(!server.last("c=biws,r=clientserver," + std::string{proof}));
}

void attack_client(std::string_view first, std::string_view last) {
    ScramClient client = ScramClient::with_key_source(
        [](std::string_view salt, std::uint32_t) { return derive_keys("fuzz", salt, 1); },
        "client");
    client.first();
    const auto response = client.last(first);
    if (response) require(response->starts_with("c=biws,r=client"));
    require(static_cast<bool>(client.verify(last)));
}

void read_texts(std::string_view text) {
    if (const auto parsed = parse_verifier(text)) {
        const std::string written = to_string(*parsed);
        require(to_string(*parse_verifier(written)) == written);
    }
    if (const auto bytes = base64_decode(text)) require(base64_encode(*bytes) == text);
    require(base64_decode(base64_encode(text)) == text);
    const std::string prepared = saslprep(text);
    require(prepared.size() <= 11 * text.size());  // UAX #15: at most
    require(saslprep(prepared) == prepared);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text{reinterpret_cast<const char*>(data + 1), size - 1};
    const std::size_t end_of_first = text.find('\n');
    const std::string_view first = text.substr(0, end_of_first);
    const std::string_view last = first.size() == text.size() ? "" : text.substr(first.size() + 1);
    switch (data[0]) {
        case 's':
            attack_server(first, last);
            break;
        case 'p':
            attack_proof(text);
            break;
        case 'c':
            attack_client(first, last);
            break;
        default:
            read_texts(text);
            break;
    }
    return 0;
}
