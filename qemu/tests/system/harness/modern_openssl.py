"""OpenSSL of today, by its bindings for Python: a client, or a server of pages.

modern_openssl.py client PORT AUTHORITY
    Asks localhost for a page twice, the second time with the session of the first. Prints
    "OpenSSL VERSION", and "group NAME" and the answer of each.
modern_openssl.py server PORT CHAIN KEY
    Answers each request with a page that names the group of the key exchange.
"""

import socket
import sys

from OpenSSL import SSL

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PATIENCE = 60


def read_all(connection):
    answer = b""
    while True:
        try:
            answer += connection.recv(65536)
        except (SSL.ZeroReturnError, SSL.SysCallError):
            return answer


def client(port, authority):
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.load_verify_locations(authority)
    context.set_verify(SSL.VERIFY_PEER)
    print(SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode())
    session = None
    for _ in range(2):
        tcp = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        tcp.settimeout(None)
        connection = SSL.Connection(context, tcp)
        connection.set_tlsext_host_name(b"localhost")
        if session:
            connection.set_session(session)
        connection.set_connect_state()
        connection.do_handshake()
        connection.sendall(REQUEST)
        answer = read_all(connection)
        session = connection.get_session()
        # A session whose connection is left without a word is not used again (SSL_free(3)).
        connection.shutdown()
        print("group", connection.get_group_name())
        print(answer.decode())


def server(port, chain, key):
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(chain)
    context.use_privatekey_file(key)
    context.set_session_id(b"pages")
    listener = socket.create_server(("127.0.0.1", port))
    print("listening", flush=True)
    while True:
        tcp, _ = listener.accept()
        tcp.settimeout(None)
        connection = SSL.Connection(context, tcp)
        connection.set_accept_state()
        try:
            connection.do_handshake()
            connection.recv(65536)
            body = f"group {connection.get_group_name()}\n".encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
            connection.shutdown()
        except SSL.Error as error:
            print("ended", error, flush=True)
        connection.close()


if __name__ == "__main__":
    role, port, *files = sys.argv[1:]
    {"client": client, "server": server}[role](int(port), *files)
