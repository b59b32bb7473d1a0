"""quorate.toml: what is accepted, and that every mistake is found at once with its place and remedy."""

from __future__ import annotations

import pytest

from quorate.model.settings import OPTIONS, SerialLink, Settings, SettingsError, UdpLink

HEAD = 'cluster = "demo"\nnode = "n1"\n'
NODES = '[[nodes]]\nname = "n1"\nid = 1\n[[nodes]]\nname = "n2"\nid = 2\n'
NET = '[[links]]\nname = "net0"\nkind = "udp"\naddresses = { n1 = "10.0.0.1", n2 = "10.0.0.2" }\n'
SERIAL = '[[links]]\nname = "ser0"\nkind = "serial"\ndevices = { n1 = "/dev/ttyS0", n2 = "/dev/ttyS1" }\n'
WHOLE = HEAD + NODES + NET + SERIAL


def mistakes(text: str) -> list[tuple[str, int]]:
    with pytest.raises(SettingsError) as caught:
        Settings.parse(text, "quorate.toml")
    for mistake in caught.value.mistakes:
        assert mistake.what and mistake.remedy and mistake.source == "quorate.toml"
    return [(mistake.key, mistake.line) for mistake in caught.value.mistakes]


def message(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.parse(text, "quorate.toml")
    return str(caught.value)


def test_a_whole_file() -> None:
    settings = Settings.parse(WHOLE, "quorate.toml")
    assert (settings.cluster, settings.node, settings.node_id) == ("demo", "n1", 1)
    assert [(node.name, node.id, node.votes) for node in settings.nodes] == [("n1", 1, 1), ("n2", 2, 1)]
    net, serial = settings.links
    assert isinstance(net, UdpLink) and net.port == 5405 and net.addresses["n2"] == "10.0.0.2"
    assert isinstance(serial, SerialLink) and serial.baud == 115_200
    assert settings.name_of(2) == "n2" and settings.id_of("n2") == 2 and settings.name_of(9) is None


def test_defaults_are_those_of_the_table() -> None:
    settings = Settings.parse(WHOLE, "quorate.toml")
    for option in OPTIONS:
        if option.table == "" and not option.required:
            assert getattr(settings, option.name) == option.default


def test_wait_for_all_follows_two_node() -> None:
    assert not Settings.parse(WHOLE, "f").quorum.wait_for_all
    both = Settings.parse(WHOLE + "[quorum]\ntwo_node = true\n", "f").quorum
    assert both.two_node and both.wait_for_all
    explicit = Settings.parse(WHOLE + "[quorum]\ntwo_node = true\nwait_for_all = false\n", "f").quorum
    assert not explicit.wait_for_all


def test_an_id_may_come_from_the_address() -> None:
    text = (
        HEAD + NODES.replace("id = 1\n", "").replace("id = 2\n", "") + SERIAL + NET.replace("10.0.0.2", "192.168.1.2")
    )
    assert [node.id for node in Settings.parse(text, "f").nodes] == [0x0A000001, 0x40A80102]


def test_no_id_and_no_address() -> None:
    text = HEAD + NODES.replace("id = 2\n", "") + SERIAL
    assert mistakes(text) == [("nodes[2].id", 6)]


def test_all_mistakes_are_found_at_once() -> None:
    text = (
        'cluster = "demo"\nnode = "n7"\ntokn_ms = 1\ntoken_ms = 100\n'
        '[[nodes]]\nname = "n1"\nid = 4\n[[nodes]]\nname = "n2"\nid = 4\n'
        '[[links]]\nname = "net0"\nkind = "udp"\naddresses = { n1 = "10.0.0.1", n2 = "10.0.0.1" }\n'
    )
    assert mistakes(text) == [
        ("node", 2), ("tokn_ms", 3), ("token_ms", 4), ("nodes[2].id", 10), ("links[1].addresses", 14),
    ]  # fmt: skip


def test_did_you_mean() -> None:
    assert "did you mean 'token_ms'?" in message("token = 1000\n" + WHOLE)
    renamed = WHOLE.replace('"n1"', '"alpha"').replace("n1 =", "alpha =")
    assert "did you mean 'alpha'?" in message(renamed.replace('node = "alpha"', 'node = "alhpa"'))
    assert "it belongs under [nodes]" in message("votes = 1\n" + WHOLE)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('node = "n1"', 'node = "n1"\ntoken_ms = 199', "use 200 to 30000"),
        ('node = "n1"', 'node = "n1"\ntoken_ms = 30001', "use 200 to 30000"),
        ('node = "n1"', 'node = "n1"\ntoken_ms = "1s"', "not a whole number"),
        ('node = "n1"', 'node = "n1"\ntoken_ms = true', "not a whole number"),
        ('node = "n1"', 'node = "n1"\nmanager_stall_ms = 4999', "use 5000"),
        ('node = "n1"', 'node = "n1"\nengine = "totem"', "use one of heartbeat, corosync"),
        ('node = "n1"', 'node = "n1"\nengine = "hartbeat"', "did you mean 'heartbeat'?"),
        ('node = "n1"', 'node = "n1"\nkey_file = "authkey"', "not an absolute path"),
        ('node = "n1"', 'node = "n1"\nlog_file = "log"', "not an absolute path"),
        ('node = "n1"', 'node = "n1"\nself_fence_command = "reboot -f"', "not a list of texts"),
        ('cluster = "demo"', 'cluster = "a b"', "is not a name"),
        ('cluster = "demo"\n', "", "is missing"),
        ('kind = "udp"', 'kind = "multicast"', "use one of udp, serial"),
        ("10.0.0.2", "n2.example", "not an IP address"),
        ("10.0.0.2", "fe80::2", "IPv4 and IPv6 addresses are mixed"),
        ("10.0.0.2", "0.0.0.0", "not the address of one machine"),
        (', n2 = "10.0.0.2"', "", "no address for n2"),
        ('n2 = "10.0.0.2"', 'n2 = "10.0.0.2", n3 = "10.0.0.3"', "'n3' is not in the list of nodes"),
        ('n2 = "/dev/ttyS1"', 'n2 = "ttyS1"', "not an absolute path"),
        (', n2 = "/dev/ttyS1"', "", "joins exactly two nodes, and 1 are named"),
        ('name = "ser0"', 'name = "net0"', "two links have the name 'net0'"),
        ('kind = "serial"', 'kind = "serial"\nport = 5405', "belongs to a udp link"),
        ('kind = "udp"', 'kind = "udp"\nport = 0', "use 1 to 65535"),
        ("id = 2", "id = 1", "1 is the id of two nodes, n1 and n2"),
        ("id = 2", "id = 2147483648", "use 1 to 2147483647"),
        ('name = "n2"', 'name = "n1"', "'n1' is the name of two nodes"),
        ("id = 1", "id = 1\nvotes = -1", "use 0 to 255"),
    ],
)
def test_one_mistake(old: str, new: str, words: str) -> None:
    assert old in WHOLE
    assert words in message(WHOLE.replace(old, new, 1))


def test_no_votes_at_all() -> None:
    assert "no node has a vote" in message(
        WHOLE.replace("id = 1", "id = 1\nvotes = 0").replace("id = 2", "id = 2\nvotes = 0")
    )


def test_two_links_on_one_socket() -> None:
    assert "both use 10.0.0.1 port 5405" in message(WHOLE + NET.replace("net0", "net1"))
    Settings.parse(WHOLE + NET.replace('"net0"', '"net1"\nport = 5406'), "f")


def test_two_node_needs_two() -> None:
    third = '[[nodes]]\nname = "n3"\nid = 3\n'
    net = NET.replace("}", ', n3 = "10.0.0.3" }')
    assert "two_node is set but there are 3 nodes" in message(
        HEAD + NODES + third + net + "[quorum]\ntwo_node = true\n"
    )


def test_every_pair_of_nodes_needs_a_path() -> None:
    third = '[[nodes]]\nname = "n3"\nid = 3\n'
    text = message(HEAD + NODES + third + SERIAL)
    assert "n1 and n3 have no heartbeat path" in text and "n2 and n3 have no heartbeat path" in text


def test_a_serial_cable_of_two_others_is_not_mine() -> None:
    third = '[[nodes]]\nname = "n3"\nid = 3\n'
    net = NET.replace("}", ', n3 = "10.0.0.3" }')
    settings = Settings.parse(HEAD.replace('"n1"', '"n3"') + NODES + third + net + SERIAL, "f")
    assert [link.name for link in settings.my_links] == ["net0"]


def test_a_node_alone_needs_no_link() -> None:
    settings = Settings.parse(HEAD + '[[nodes]]\nname = "n1"\nid = 1\n', "f")
    assert settings.links == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no [[nodes]]"),
        ("cluster = ", "this is not TOML"),
        ("cluster = 'a'\ncluster = 'b'", "this is not TOML"),
        ("nodes = 3", "must be a list of tables"),
        ("quorum = 3", "must be a table"),
        ("[nodes]\nname = 'n1'", "must be a list of tables"),
        ("\x00", "this is not TOML"),
    ],
)
def test_what_is_no_configuration_at_all(text: str, words: str) -> None:
    assert words in message(text)


def test_not_toml_names_the_line() -> None:
    assert mistakes('cluster = "a"\nnode = n1\n') == [("", 2)]


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(SettingsError, match="byte 2 is not UTF-8"):
        Settings.parse_bytes(b"a \xff", "f")
    with pytest.raises(SettingsError, match="is longer than"):
        Settings.parse_bytes(b"#" * (1024 * 1024 + 1), "f")


def test_the_digest_is_over_what_must_be_equal() -> None:
    base = Settings.parse(WHOLE, "f")
    same = WHOLE.replace('node = "n1"', 'node = "n2"\nstate_dir = "/srv/x"\nmanager_grace_ms = 20000').replace(
        "ttyS0", "ttyUSB0"
    )
    assert Settings.parse(same, "g").digest() == base.digest()
    for old, new in (
        ("id = 2", "id = 3"), ("id = 2", "id = 2\nvotes = 2"), ("10.0.0.2", "10.0.0.3"), ("demo", "other"),
        ('node = "n1"', 'node = "n1"\ntoken_ms = 2000'), ("[[nodes]]", "[quorum]\nwait_for_all = true\n[[nodes]]"),
    ):  # fmt: skip
        assert Settings.parse(WHOLE.replace(old, new, 1), "f").digest() != base.digest()


def test_warnings() -> None:
    def warned(text: str) -> str:
        return "\n".join(Settings.parse(text, "f").warnings())

    assert "two nodes without two_node" in warned(WHOLE)
    assert "one heartbeat path only" in warned(HEAD + NODES + NET)
    assert "without wait_for_all" in warned(WHOLE + "[quorum]\ntwo_node = true\nwait_for_all = false\n")
    assert warned(WHOLE + "[quorum]\ntwo_node = true\n") == ""
