"""The chassis: what every service needs and what knows nothing of complaints."""
