/*
 * What sockets cost at an address of the machine's own. Prints nanoseconds for each of: a socket bound, a TCP connection
 * made, accepted and closed, a MiB sent over one, a UDP datagram sent and answered. The median of several batches of
 * each. Both ends are in this process.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 15
#define MIB (1 << 20)
#define CHUNK (64 << 10)

static struct sockaddr_in at;

static int check(int done, const char *doing)
{
	if (done < 0) {
		fprintf(stderr, "net: %s: %s\n", doing, strerror(errno));
		exit(1);
	}
	return done;
}

static double now(void)
{
	struct timespec t;
	check(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), "clock_gettime");
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* A socket at the address, and where it is. */
static int bound(int kind, struct sockaddr_in *where)
{
	int s = check(socket(AF_INET, kind, 0), "socket");
	socklen_t size = sizeof(*where);
	check(bind(s, (struct sockaddr *)&at, sizeof(at)), "bind");
	check(getsockname(s, (struct sockaddr *)where, &size), "getsockname");
	return s;
}

static int connected(const struct sockaddr_in *to)
{
	int s = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
	struct linger at_once = { .l_onoff = 1 };
	check(setsockopt(s, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), "setsockopt");
	check(connect(s, (const struct sockaddr *)to, sizeof(*to)), "connect");
	return s;
}

static void binds(int count)
{
	struct sockaddr_in where;
	while (count--)
		close(bound(SOCK_STREAM, &where));
}

static void connections(int count)
{
	struct sockaddr_in where;
	int s = bound(SOCK_STREAM, &where);
	check(listen(s, 16), "listen");
	while (count--) {
		int c = connected(&where);
		close(check(accept(s, NULL, NULL), "accept"));
		close(c);
	}
	close(s);
}

static void bytes(int count)
{
	static char chunk[CHUNK];
	struct sockaddr_in where;
	int s = bound(SOCK_STREAM, &where), c, a;
	check(listen(s, 1), "listen");
	c = connected(&where);
	a = check(accept(s, NULL, NULL), "accept");
	for (long left = (long)count * MIB; left > 0; left -= CHUNK) {
		check((int)send(c, chunk, CHUNK, 0), "send");
		check((int)recv(a, chunk, CHUNK, MSG_WAITALL), "recv");
	}
	close(a);
	close(c);
	close(s);
}

static void datagrams(int count)
{
	char byte = 0;
	struct sockaddr_in here, there, from;
	int s = bound(SOCK_DGRAM, &here), c = bound(SOCK_DGRAM, &there);
	while (count--) {
		socklen_t size = sizeof(from);
		check((int)sendto(c, &byte, 1, 0, (struct sockaddr *)&here, sizeof(here)), "sendto");
		check((int)recvfrom(s, &byte, 1, 0, (struct sockaddr *)&from, &size), "recvfrom");
		check((int)sendto(s, &byte, 1, 0, (struct sockaddr *)&from, size), "sendto");
		check((int)recv(c, &byte, 1, 0), "recv");
	}
	close(c);
	close(s);
}

static int compare(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;
	return (a > b) - (a < b);
}

static void measure(const char *name, void (*act)(int), int count)
{
	double each[BATCHES];
	act(count / 4 + 1);
	for (int n = 0; n < BATCHES; n++) {
		double start = now();
		act(count);
		each[n] = (now() - start) / count;
	}
	qsort(each, BATCHES, sizeof(each[0]), compare);
	printf("%s %.0f\n", name, each[BATCHES / 2]);
}

int main(int argc, char **argv)
{
	at.sin_family = AF_INET;
	if (argc != 2 || inet_pton(AF_INET, argv[1], &at.sin_addr) != 1) {
		fprintf(stderr, "usage: net ADDRESS\n");
		return 1;
	}
	measure("a socket bound", binds, 500);
	measure("a TCP connection", connections, 200);
	measure("a MiB over TCP", bytes, 16);
	measure("a UDP datagram and its answer", datagrams, 500);
	return 0;
}
