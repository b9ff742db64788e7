/* SPDX-License-Identifier: Apache-2.0 */
void f(char *a, const char *b);
void f(char *a, const char *b)
{
	strcpy(a, b);
}
