/* SPDX-License-Identifier: Apache-2.0 */
int comment; // like this
